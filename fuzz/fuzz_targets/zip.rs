//! A zip archive as PyTorch or NumPy would have it: no panic, and what is listed lies in the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorseal_format::{Checkpoint, OpenOptions};

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    let ending = ["pt", "npz", "npy", "bin"][usize::from(kind % 4)];
    let name = format!("tensorseal-fuzz-{}.{ending}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    let model = Checkpoint::open(&path, &OpenOptions::default()).expect("it is there");
    for tensor in &model.tensors {
        assert!(tensor.offset + tensor.bytes <= bytes.len() as u64, "a tensor leaves the file");
        let elements = tensor.shape.iter().product();
        assert_eq!(tensor.dtype.byte_len(elements), Some(tensor.bytes));
    }
    let mut end = 0;
    for sum in &model.files[0].checksums {
        assert!(sum.range[0] >= end && sum.range[1] <= bytes.len() as u64);
        end = sum.range[1];
    }
});
