//! Claims of watermarks: refused or understood, and what was understood is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorseal_core::watermark::claim::Claim;

fuzz_target!(|text: &[u8]| {
    match Claim::parse(text) {
        Ok(claim) => {
            let mut written = Vec::new();
            claim.write(&mut written).expect("memory is never full here");
            assert_eq!(Claim::parse(&written).as_ref(), Ok(&claim));
        }
        Err(error) => assert!(!error.contains('\n')),
    }
});
