//! The header of a GGUF file: no panic, and tensors lie in the file, apart from each other. The first 8 bytes
//! are the stated length of the file, the next one the version, with its highest bit the byte order, and
//! whether the file is as long as its beginning.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorseal_format::gguf::check_bytes;

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk::<8>() else { return };
    let Some((kind, rest)) = rest.split_first() else { return };
    let version = u32::from(kind & 3);
    let version = if kind & 0x80 == 0 { version.to_le_bytes() } else { version.to_be_bytes() };
    let start = [b"GGUF", &version[..], rest].concat();
    let file_bytes = match kind & 0x40 {
        0 => start.len() as u64,
        // Zeros follow, which are read where they are padding.
        _ => u64::from_le_bytes(*length) >> 24,
    };
    let report = check_bytes(&start, file_bytes);

    let mut cursor = 0;
    for tensor in &report.tensors {
        assert!(tensor.offset >= cursor, "tensors share bytes");
        cursor = tensor.offset + tensor.bytes;
        assert!(cursor <= file_bytes, "a tensor leaves the file");
        let elements = tensor.shape.iter().product();
        assert_eq!(tensor.dtype.byte_len(elements), Some(tensor.bytes));
    }
    for error in report.errors() {
        assert!(!error.to_string().chars().any(char::is_control), "more than a line");
    }
    assert!(report.readable || report.errors().next().is_some(), "unreadable without a reason");
});
