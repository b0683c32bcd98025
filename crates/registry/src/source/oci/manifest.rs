//! Parses manifests of OCI registries (OCI image specification 1.1, and Docker's schema 2, which has the same form).

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tensorseal_base::display::quoted;

/// The longest manifest that is read, in bytes: the limit that the distribution specification recommends.
pub(super) const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// The media types that are accepted.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// The document to which a tag or digest refers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ManifestDocument {
    /// The manifest of one model.
    Manifest(Box<ImageManifest>),
    /// An index of manifests.
    Index(Box<ImageIndex>),
}

/// An error in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum OciManifestError {
    /// The bytes are not the JSON of a manifest.
    #[error("the manifest is malformed: {0}")]
    Malformed(String),
    /// The document could be read as a manifest or as an index.
    #[error("the manifest is ambiguous: it has both layers and manifests")]
    Ambiguous,
    /// The media type is not supported.
    #[error("the manifest has the unsupported type {}", quoted(.0))]
    MediaType(String),
    /// The schema version is not supported.
    #[error("the manifest has schema version {0}, not 2")]
    Version(u32),
}

/// The members that distinguish the kinds of documents.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestHeader {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
}

impl ManifestDocument {
    /// Parses a manifest or an index.
    ///
    /// # Errors
    /// Returns an [`OciManifestError`] if the document is malformed or unsupported, or if clients could interpret it in
    /// different ways (CVE-2021-41190).
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, OciManifestError> {
        let malformed = |error: serde_json::Error| {
            // The message of the library can be long; the position is enough.
            OciManifestError::Malformed(format!("line {}, column {}", error.line(), error.column()))
        };
        let header: ManifestHeader = serde_json::from_slice(bytes).map_err(malformed)?;
        if header.schema_version != 2 {
            return Err(OciManifestError::Version(header.schema_version));
        }
        let media_type = header.media_type.as_deref();
        let is = |types: [&str; 2]| media_type.is_none_or(|media_type| types.contains(&media_type));
        match (header.layers, header.manifests) {
            (Some(_), Some(_)) => Err(OciManifestError::Ambiguous),
            (Some(_), None)
                if is([
                    "application/vnd.oci.image.manifest.v1+json",
                    "application/vnd.docker.distribution.manifest.v2+json",
                ]) =>
            {
                serde_json::from_slice(bytes).map(Self::Manifest).map_err(malformed)
            }
            (None, Some(_))
                if is([
                    "application/vnd.oci.image.index.v1+json",
                    "application/vnd.docker.distribution.manifest.list.v2+json",
                ]) =>
            {
                serde_json::from_slice(bytes).map(Self::Index).map_err(malformed)
            }
            _ => Err(OciManifestError::MediaType(header.media_type.unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(value: &serde_json::Value) -> Result<ManifestDocument, OciManifestError> {
        ManifestDocument::parse(value.to_string().as_bytes())
    }

    fn descriptor(media_type: &str) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", "0".repeat(64)), "size": 2})
    }

    #[test]
    fn kinds_of_manifests() {
        let config = descriptor("application/vnd.oci.empty.v1+json");
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
        assert!(matches!(parse(&manifest), Ok(ManifestDocument::Manifest(_))));
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json")]});
        assert!(matches!(parse(&index), Ok(ManifestDocument::Index(_))));

        let both = json!({"schemaVersion": 2, "config": config, "layers": [], "manifests": []});
        assert_eq!(parse(&both), Err(OciManifestError::Ambiguous));
        let posing = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "config": config, "layers": []});
        assert!(matches!(parse(&posing), Err(OciManifestError::MediaType(_))));
        let old = json!({"schemaVersion": 1, "config": config, "layers": []});
        assert_eq!(parse(&old), Err(OciManifestError::Version(1)));
        let artifact = json!({"schemaVersion": 2, "blobs": [],
            "mediaType": "application/vnd.oci.artifact.manifest.v1+json"});
        assert!(matches!(parse(&artifact), Err(OciManifestError::MediaType(_))));
    }

    #[test]
    fn a_descriptor_with_a_wrong_digest_or_size() {
        for layer in [
            json!({"mediaType": "a/b", "digest": "sha256:12", "size": 1}),
            json!({"mediaType": "a/b", "digest": format!("sha256:{}", "g".repeat(64)), "size": 1}),
            json!({"mediaType": "a/b", "digest": "../../etc/passwd", "size": 1}),
            json!({"mediaType": "a/b", "digest": format!("sha256:{}", "0".repeat(64)), "size": -1}),
            json!({"mediaType": "a/b", "digest": format!("sha256:{}", "0".repeat(64)), "size": 1.5}),
        ] {
            let config = descriptor("application/vnd.oci.empty.v1+json");
            let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
            assert!(matches!(parse(&manifest), Err(OciManifestError::Malformed(_))), "{manifest}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_manifest_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ManifestDocument::parse(&bytes);
        }

        #[test]
        fn a_damaged_manifest_is_a_manifest_or_an_error(at in 0usize..200, byte in any::<u8>()) {
            let config = descriptor("application/vnd.oci.empty.v1+json");
            let manifest = json!({"schemaVersion": 2, "config": config, "layers": [descriptor("a/b")]});
            let mut bytes = manifest.to_string().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = ManifestDocument::parse(&bytes);
        }
    }
}
