//! The descriptor of another scheme's key: refused or understood, never a panic, and every message one
//! line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorseal_core::watermark::third_party::descriptor::{Descriptor, scheme_of};

fuzz_target!(|text: &[u8]| {
    match Descriptor::parse(text) {
        Ok(descriptor) => {
            let named = scheme_of(text);
            assert_eq!(named.as_deref(), Some(descriptor.scheme.name()));
        }
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
});
