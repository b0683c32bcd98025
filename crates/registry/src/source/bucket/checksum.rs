//! The SHA-256 checksum that an S3 keeps of an object.
//!
//! It is in the answer to a request with `x-amz-checksum-mode: ENABLED`, if the object was written with one
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>). That of an object that was
//! written in parts is the checksum of the checksums of the parts (`COMPOSITE`, `…-3`): nobody who does not
//! know where the parts end can verify it, and it is passed over. Some servers tell neither of it; that the
//! object has parts is seen by its entity tag then.

use super::super::ListedDigest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ETAG, HeaderMap, HeaderName, HeaderValue};
use tensorseal_base::hashing::HashAlgorithm;

const MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");
const SHA256: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");
const TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");

/// What a request has that asks for it.
pub(super) fn request_headers() -> HeaderMap {
    HeaderMap::from_iter([(MODE, HeaderValue::from_static("ENABLED"))])
}

/// The checksum of all bytes of an object, from the headers of an answer; `None`: there is none, or it cannot
/// be understood.
pub(super) fn sha256_from_headers(headers: &HeaderMap) -> Option<[u8; 32]> {
    let is_whole = match headers.get(TYPE) {
        Some(kind) => kind == "FULL_OBJECT",
        None => !headers.get(ETAG).is_some_and(is_of_parts),
    };
    let written = headers.get(SHA256).filter(|_| is_whole)?;
    STANDARD.decode(written).ok()?.try_into().ok()
}

/// Whether an entity tag ends as those of objects of parts do: `"…-3"`.
fn is_of_parts(etag: &HeaderValue) -> bool {
    let tag = etag.as_bytes().strip_suffix(b"\"").unwrap_or(etag.as_bytes());
    let digits = tag.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && tag[..tag.len() - digits].ends_with(b"-")
}

/// What is claimed of an object with this checksum.
pub(super) fn listed_digest(digest: [u8; 32]) -> ListedDigest {
    let digest = digest.to_vec();
    ListedDigest {
        algorithm: HashAlgorithm::Sha256,
        digest,
        origin: "its checksum in the store",
        remedy: "write it again from its origin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(checksum: &str, kind: Option<&str>) -> Option<[u8; 32]> {
        let mut headers = HeaderMap::new();
        headers.insert(SHA256, HeaderValue::from_str(checksum).unwrap());
        headers.extend(kind.map(|kind| (TYPE, HeaderValue::from_str(kind).unwrap())));
        sha256_from_headers(&headers)
    }

    #[test]
    fn checksums_of_all_bytes_are_taken() {
        let whole = STANDARD.encode([7; 32]);
        assert_eq!(of(&whole, Some("FULL_OBJECT")), Some([7; 32]));
        assert_eq!(of(&whole, None), Some([7; 32]));
        assert_eq!(of(&whole, Some("COMPOSITE")), None);
        assert_eq!(sha256_from_headers(&HeaderMap::new()), None);
        for (etag, is_of_parts) in
            [("\"0a-12\"", true), ("\"0a1\"", false), ("-", false), ("", false)]
        {
            let mut headers = HeaderMap::from_iter([
                (SHA256, HeaderValue::from_str(&whole).unwrap()),
                (ETAG, HeaderValue::from_str(etag).unwrap()),
            ]);
            assert_eq!(sha256_from_headers(&headers).is_none(), is_of_parts, "{etag}");
            headers.insert(TYPE, HeaderValue::from_static("FULL_OBJECT"));
            assert_eq!(sha256_from_headers(&headers), Some([7; 32]));
        }
        let parts = format!("{whole}-3");
        let short = STANDARD.encode([7; 31]);
        let long = STANDARD.encode([7; 4096]);
        for nonsense in [&parts, &short, &long, "", "?", &whole[1..]] {
            assert_eq!(of(nonsense, None), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn what_is_given_is_what_was_written(digest: [u8; 32], noise in "[ -~]{0,60}") {
            prop_assert_eq!(of(&STANDARD.encode(digest), None), Some(digest));
            // Whatever else there is, nothing panics.
            if let Some(digest) = of(&noise, None) {
                prop_assert_eq!(STANDARD.encode(digest), noise);
            }
        }
    }
}
