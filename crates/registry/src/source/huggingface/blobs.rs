//! Blobs of the Hugging Face cache: files that are named by their digests.

use crate::source::ListedDigest;
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_base::hex::{unhex, unhex_to};

/// Returns the digest in the name of a blob; `None` if it is not such a name.
pub(super) fn blob_digest(name: &str) -> Option<ListedDigest> {
    let algorithm = match name.len() {
        64 => HashAlgorithm::Sha256,
        _ => HashAlgorithm::GitBlob,
    };
    parse_digest(
        algorithm,
        name,
        DigestOrigin { name: "the name of its blob", remedy: DOWNLOAD_AGAIN },
    )
}

/// The remedy for a file of the cache that does not have its digest.
pub(super) const DOWNLOAD_AGAIN: &str = "download it again";

/// The origin and remedy of a digest; see [`ListedDigest`].
pub(super) struct DigestOrigin {
    pub name: &'static str,
    pub remedy: &'static str,
}

/// Parses a digest in lower-case hexadecimal digits; `None` if the number of digits is wrong for the hash function or a
/// digit is not valid.
pub(super) fn parse_digest(
    algorithm: HashAlgorithm,
    digits: &str,
    origin: DigestOrigin,
) -> Option<ListedDigest> {
    let digest = match algorithm {
        HashAlgorithm::GitBlob => unhex_to::<20>(digits)?.to_vec(),
        _ => unhex(digits)?.to_vec(),
    };
    Some(ListedDigest { algorithm, digest, origin: origin.name, remedy: origin.remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_blobs() {
        let sha256 = blob_digest(&"0a".repeat(32)).unwrap();
        assert_eq!((sha256.algorithm, sha256.digest), (HashAlgorithm::Sha256, vec![10; 32]));
        let git = blob_digest(&"ff".repeat(20)).unwrap();
        assert_eq!((git.algorithm, git.digest), (HashAlgorithm::GitBlob, vec![255; 20]));
        let incomplete = format!("{}.incomplete", "0a".repeat(32));
        for name in [&incomplete, "", "0a", &"0A".repeat(32), &"0g".repeat(20), &"é".repeat(20)] {
            assert_eq!(blob_digest(name), None, "{name}");
        }
    }
}
