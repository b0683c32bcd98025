//! Blobs: files that are named by what is in them.

use crate::registry::source::Claim;
use crate::stream::hashing::HashAlgorithm;

/// What the name of a blob claims; `None`: it is no name of a blob.
pub(super) fn claim(name: &str) -> Option<Claim> {
    let algorithm = match name.len() {
        64 => HashAlgorithm::Sha256,
        40 => HashAlgorithm::GitBlob,
        _ => return None,
    };
    let digest = unhex(name)?;
    Some(Claim { algorithm, digest, place: "the name of its blob" })
}

/// The bytes of lower-case hexadecimal digits.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_blobs() {
        let sha256 = claim(&"0a".repeat(32)).unwrap();
        assert_eq!((sha256.algorithm, sha256.digest), (HashAlgorithm::Sha256, vec![10; 32]));
        let git = claim(&"ff".repeat(20)).unwrap();
        assert_eq!((git.algorithm, git.digest), (HashAlgorithm::GitBlob, vec![255; 20]));
        let incomplete = format!("{}.incomplete", "0a".repeat(32));
        for name in [&incomplete, "", "0a", &"0A".repeat(32), &"0g".repeat(20), &"é".repeat(20)] {
            assert_eq!(claim(name), None, "{name}");
        }
    }
}
