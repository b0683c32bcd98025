//! Seals from nobody in particular: refused or consistent, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorseal_core::seal::{Seal, canonical, read};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(seal) = read::parse(bytes) {
        // What is accepted can be written, and reads back as the same seal.
        let mut text = Vec::new();
        canonical::write(&seal, &mut text).expect("memory takes it");
        let again: Seal = read::parse(&text[..]).expect("what was written reads back");
        assert_eq!(again.model.root, seal.model.root);
        assert_eq!(again.tensors.len(), seal.tensors.len());
    }
});
