//! The header of a safetensors file: no panic, and whatever is accepted the reference accepts.
//! The first 8 bytes are the stated length of the file, the rest is the text of the header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorseal_format::safetensors::check_header_alone;

fuzz_target!(|input: &[u8]| {
    let Some((length, text)) = input.split_first_chunk::<8>() else { return };
    let file_bytes = u64::from_le_bytes(*length);
    let report = check_header_alone(text, file_bytes);

    let mut cursor = 0;
    for tensor in &report.tensors {
        assert!(tensor.offset >= cursor, "tensors share bytes");
        cursor = tensor.offset + tensor.bytes;
        assert!(cursor <= file_bytes, "a tensor leaves the file");
    }
    if report.errors().next().is_none() {
        let theirs = std::str::from_utf8(text)
            .ok()
            .and_then(|text| serde_json::from_str::<safetensors::tensor::Metadata>(text).ok())
            .expect("the reference refuses what was accepted");
        let end = 8 + text.len() as u64 + theirs.data_len() as u64;
        assert_eq!(end, file_bytes, "the file is not covered");
    }
});
