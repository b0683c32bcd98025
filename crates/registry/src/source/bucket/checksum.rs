//! Reads the SHA-256 checksum that S3 keeps of an object.
//!
//! A response has the checksum if the request has `x-amz-checksum-mode: ENABLED` and the object was written with one
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>). The checksum of a multipart upload is that of
//! the checksums of its parts (`COMPOSITE`, `…-3`). It cannot be verified without the boundaries of the parts, so it is
//! ignored. Some servers do not mark such checksums; the entity tag of the object then shows that it has parts.

use super::super::ListedDigest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ETAG, HeaderMap, HeaderName, HeaderValue};
use tensorseal_base::hashing::HashAlgorithm;

const MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");
const SHA256: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");
const TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");

/// Returns the headers that request the checksum.
pub(super) fn request_headers() -> HeaderMap {
    HeaderMap::from_iter([(MODE, HeaderValue::from_static("ENABLED"))])
}

/// Returns the checksum of a whole object from the headers of a response; `None` if there is none, or it is not valid.
pub(super) fn sha256_from_headers(headers: &HeaderMap) -> Option<[u8; 32]> {
    let is_whole = match headers.get(TYPE) {
        Some(kind) => kind == "FULL_OBJECT",
        None => !headers.get(ETAG).is_some_and(is_multipart),
    };
    let written = headers.get(SHA256).filter(|_| is_whole)?;
    STANDARD.decode(written).ok()?.try_into().ok()
}

/// Returns whether an entity tag is that of a multipart upload: `"…-3"`.
fn is_multipart(etag: &HeaderValue) -> bool {
    let tag = etag.as_bytes().strip_suffix(b"\"").unwrap_or(etag.as_bytes());
    let digits = tag.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && tag[..tag.len() - digits].ends_with(b"-")
}

/// Returns the listed digest of an object with this checksum.
pub(super) fn listed_digest(digest: [u8; 32]) -> ListedDigest {
    let digest = digest.to_vec();
    ListedDigest {
        algorithm: HashAlgorithm::Sha256,
        digest,
        origin: "its checksum in the store",
        remedy: "upload it again from its origin",
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
    fn only_checksums_of_whole_objects_are_used() {
        let whole = STANDARD.encode([7; 32]);
        assert_eq!(of(&whole, Some("FULL_OBJECT")), Some([7; 32]));
        assert_eq!(of(&whole, None), Some([7; 32]));
        assert_eq!(of(&whole, Some("COMPOSITE")), None);
        assert_eq!(sha256_from_headers(&HeaderMap::new()), None);
        for (etag, is_multipart) in
            [("\"0a-12\"", true), ("\"0a1\"", false), ("-", false), ("", false)]
        {
            let mut headers = HeaderMap::from_iter([
                (SHA256, HeaderValue::from_str(&whole).unwrap()),
                (ETAG, HeaderValue::from_str(etag).unwrap()),
            ]);
            assert_eq!(sha256_from_headers(&headers).is_none(), is_multipart, "{etag}");
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
        fn checksums_round_trip(digest: [u8; 32], noise in "[ -~]{0,60}") {
            prop_assert_eq!(of(&STANDARD.encode(digest), None), Some(digest));
            // Other values do not panic.
            if let Some(digest) = of(&noise, None) {
                prop_assert_eq!(STANDARD.encode(digest), noise);
            }
        }
    }
}
