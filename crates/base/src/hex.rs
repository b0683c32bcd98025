//! Encodes and decodes hexadecimal digests: lower-case, two digits per byte.
//!
//! `base16ct` does the work: unlike most crates for hexadecimal it can refuse upper-case digits, so a digest has one
//! spelling only.

use base16ct::{lower, mixed};

/// Encodes bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    lower::encode_string(bytes)
}

/// Decodes exactly 64 lower-case hexadecimal digits; `None` if `text` is anything else.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    unhex_to(text)
}

/// Decodes exactly `2 * N` lower-case hexadecimal digits; `None` if `text` is anything else.
pub fn unhex_to<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let decoded = lower::decode(text, &mut bytes).ok()?.len();
    (decoded == N).then_some(bytes)
}

/// Decodes hexadecimal digits in either case, for documents of other programs; `None` if `text` is anything else.
pub fn unhex_any_case(text: &str) -> Option<Vec<u8>> {
    mixed::decode_vec(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_one_spelling() {
        assert_eq!(hex(&[0x00, 0xab, 0xff]), "00abff");
        assert_eq!(unhex_to("00abff"), Some([0x00, 0xab, 0xff]));
        for text in ["00ABff", "00abf", "00ab", "00abff00", "00abfg", " 0abff", "00abf\u{e9}", ""] {
            assert_eq!(unhex_to::<3>(text), None, "{text}");
        }
        assert_eq!(unhex_any_case("00ABff"), Some(vec![0x00, 0xab, 0xff]));
        assert_eq!(unhex_any_case("00abf"), None);
    }
}
