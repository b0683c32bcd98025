//! Blobs: files that are named by what is in them.

use crate::source::ListedDigest;
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_base::hex::{unhex, unhex_to};

/// What the name of a blob claims; `None`: it is no name of a blob.
pub(super) fn blob_digest(name: &str) -> Option<ListedDigest> {
    let algorithm = match name.len() {
        64 => HashAlgorithm::Sha256,
        _ => HashAlgorithm::GitBlob,
    };
    parse_digest(algorithm, name, DigestOrigin { name: "the name of its blob", remedy: FETCH })
}

/// What to do about a file of a cache that is not what it is called.
pub(super) const FETCH: &str = "fetch it again";

/// Where a claim stands, and what to do when it does not hold: see [`ListedDigest`].
pub(super) struct DigestOrigin {
    pub name: &'static str,
    pub remedy: &'static str,
}

/// The claim of a digest in lower-case hexadecimal digits, which stands at `place`; `None`: they are not as
/// many as the function gives, or no such digits.
pub(super) fn parse_digest(
    algorithm: HashAlgorithm,
    digits: &str,
    place: DigestOrigin,
) -> Option<ListedDigest> {
    let digest = match algorithm {
        HashAlgorithm::GitBlob => unhex_to::<20>(digits)?.to_vec(),
        _ => unhex(digits)?.to_vec(),
    };
    Some(ListedDigest { algorithm, digest, origin: place.name, remedy: place.remedy })
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
