//! The header of an `.npy` file: no panic, and what is accepted fills the file. The first 8 bytes are
//! the stated length of the file, the next one says how much of a sound beginning stands before the rest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorseal_format::numpy::npy;

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk::<8>() else { return };
    let Some((kind, rest)) = rest.split_first() else { return };
    let file_bytes = u64::from_le_bytes(*length);
    let mut start = Vec::new();
    if kind & 1 == 1 {
        start.extend_from_slice(b"\x93NUMPY\x01\x00");
    }
    if kind & 2 == 2 {
        start.extend_from_slice(&(rest.len() as u16).to_le_bytes());
    }
    start.extend_from_slice(rest);
    start.truncate(npy::START_LEN);
    if let Ok(header) = npy::parse_any_order(&start, file_bytes) {
        let elements = header.shape.iter().try_fold(1u64, |all, one| all.checked_mul(*one));
        let bytes = elements.and_then(|elements| header.dtype.byte_len(elements));
        assert_eq!(bytes, Some(header.bytes), "the shape is not that of the data");
        assert_eq!(header.offset.checked_add(header.bytes), Some(file_bytes));
    }
});
