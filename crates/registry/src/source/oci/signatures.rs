//! Detects whether a registry has a signature of a model. The signature is not verified here.

use super::client::RegistryClient;
use super::manifest::ManifestDocument;
use tensorseal_format::RemoteError;

/// The prefixes of the media types of signatures: Sigstore bundles of OpenSSF Model Signing and cosign, signatures of
/// earlier versions of cosign, and signatures of Notation.
const SIGNATURES: [&str; 3] = [
    "application/vnd.dev.sigstore.bundle",
    "application/vnd.dev.cosign.artifact.sig",
    "application/vnd.cncf.notary.signature",
];

/// Returns whether a referrer of the manifest is a signature. The referrers come from the referrers API or, without it,
/// from tags (distribution specification, "Referrers Tag Schema", and `….sig` of cosign).
///
/// # Errors
/// Returns [`RemoteError::Unavailable`] if the registry does not answer.
pub(super) fn is_signed(registry: &RegistryClient, digest: &str) -> Result<bool, RemoteError> {
    if let Some(referrers) = registry.referrers(digest)? {
        if contains_signature(&referrers) {
            return Ok(true);
        }
    } else if let Some(referrers) = registry.manifest(&referrers_tag(digest))?
        && contains_signature(&referrers.bytes)
    {
        return Ok(true);
    }
    Ok(registry.manifest(&format!("{}.sig", referrers_tag(digest)))?.is_some())
}

/// Returns the tag under which registries without a referrers API keep the referrers of a digest.
fn referrers_tag(digest: &str) -> String {
    digest.replace(':', "-")
}

/// Returns whether a tag is one of referrers, and not of a model.
pub(super) fn is_referrers_tag(tag: &str) -> bool {
    let digest = tag.strip_prefix("sha256-").and_then(|rest| rest.split('.').next());
    let is_hex = |digest: &str| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    digest.is_some_and(is_hex)
}

/// Returns whether an index contains a signature.
fn contains_signature(index: &[u8]) -> bool {
    let Ok(ManifestDocument::Index(index)) = ManifestDocument::parse(index) else { return false };
    index.manifests().iter().any(|entry| {
        let kind = entry.artifact_type().as_ref().unwrap_or(entry.media_type());
        SIGNATURES.iter().any(|prefix| kind.as_ref().starts_with(prefix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn index(artifact_type: &str) -> Vec<u8> {
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": artifact_type,
            "digest": format!("sha256:{}", "0".repeat(64)),
            "size": 7,
        }]})
        .to_string()
        .into_bytes()
    }

    #[test]
    fn signatures_among_referrers() {
        assert!(contains_signature(&index("application/vnd.dev.sigstore.bundle.v0.3+json")));
        assert!(contains_signature(&index("application/vnd.cncf.notary.signature")));
        assert!(!contains_signature(&index("application/spdx+json")));
        assert!(!contains_signature(b"{}"));
    }

    #[test]
    fn tags_of_referrers() {
        let digest = "0".repeat(64);
        assert_eq!(referrers_tag(&format!("sha256:{digest}")), format!("sha256-{digest}"));
        for end in ["", ".sig", ".att"] {
            assert!(is_referrers_tag(&format!("sha256-{digest}{end}")));
        }
        for referrers_tag in ["latest", "sha256-", "sha256-12", &digest] {
            assert!(!is_referrers_tag(referrers_tag), "{referrers_tag}");
        }
    }
}
