//! Parses an `oci:` URI: a repository of a registry, and the selected manifests.

use super::super::SourceError;
use super::super::endpoint::Endpoint;
use oci_spec::distribution::Reference;
use url::Url;

/// The names of Docker Hub: that of its users, and that of its credentials.
const DOCKER_HUB: [&str; 2] = ["docker.io", "index.docker.io"];
const DOCKER_HUB_API: &str = "https://registry-1.docker.io/";

/// A repository and the selected manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OciReference {
    /// The registry.
    pub endpoint: Endpoint,
    /// The key of its credentials: `host[:port]`.
    pub account: String,
    /// The repository: lower-case components separated by `/`.
    pub repository: String,
    /// The selected manifests.
    pub manifests: ManifestSelector,
    /// The URI without credentials.
    pub name: String,
}

/// A selection of manifests of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ManifestSelector {
    /// The manifests of all tags.
    All,
    /// The manifest of this tag.
    Tag(String),
    /// The manifest with this digest.
    Digest(String),
}

impl OciReference {
    /// Parses `oci://host[:port]/repository[:tag][@digest]` in the grammar of the OCI distribution specification. If both a
    /// tag and a digest are given, the digest counts.
    ///
    /// # Errors
    /// Returns [`SourceError::Invalid`] if the URI is not valid.
    pub(super) fn parse(uri: &str) -> Result<Self, SourceError> {
        let mut endpoint = Endpoint::parse(uri, "oci")?;
        let name = format!("{}/{}", endpoint.name, endpoint.path);
        let invalid = |reason: String| SourceError::Invalid { source_name: name.clone(), reason };
        if endpoint.path.is_empty() {
            let expected = "expected oci://host[:port]/repository[:tag|@digest]";
            return Err(invalid(expected.to_owned()));
        }
        // The host is already parsed. With `localhost` in its place, the parser takes the rest as the repository.
        let reference = Reference::try_from(format!("localhost/{}", endpoint.path).as_str());
        let reference = reference.map_err(|error| invalid(error.to_string()))?;
        let last = endpoint.path.rsplit_once('/').map_or(endpoint.path.as_str(), |(_, last)| last);
        let manifests = match (reference.digest(), reference.tag()) {
            (Some(digest), _) if !digest.starts_with("sha256:") => {
                return Err(invalid("unsupported digest: use sha256".to_owned()));
            }
            (Some(digest), _) => ManifestSelector::Digest(digest.to_ascii_lowercase()),
            (None, Some(tag)) if last.contains(':') => ManifestSelector::Tag(tag.to_owned()),
            _ => ManifestSelector::All,
        };
        let mut repository = reference.repository().to_owned();
        let mut account = authority(&endpoint.base);
        if endpoint.base.scheme() == "https" && DOCKER_HUB.contains(&account.as_str()) {
            endpoint.base = Url::parse(DOCKER_HUB_API).map_err(|e| invalid(e.to_string()))?;
            account = DOCKER_HUB[1].to_owned();
            if !repository.contains('/') {
                repository.insert_str(0, "library/");
            }
        }
        Ok(Self { endpoint, account, repository, manifests, name })
    }
}

/// Returns `host[:port]`, without a default port.
fn authority(base: &Url) -> String {
    let host = base.host_str().unwrap_or_default();
    base.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn repositories_tags_and_digests() {
        let at = format!("oci://ghcr.io/a/b:v1@{DIGEST}");
        let upper = format!("oci://ghcr.io/a@{}", DIGEST.replace("ba78", "BA78"));
        for (uri, repository, manifests) in [
            ("oci://ghcr.io/a/b", "a/b", ManifestSelector::All),
            ("oci://ghcr.io/a/b:v1", "a/b", ManifestSelector::Tag("v1".to_owned())),
            ("oci://localhost:5000/a", "a", ManifestSelector::All),
            ("oci://localhost:5000/a:latest", "a", ManifestSelector::Tag("latest".to_owned())),
            ("oci://registry/a/b:1", "a/b", ManifestSelector::Tag("1".to_owned())),
            (&at, "a/b", ManifestSelector::Digest(DIGEST.to_owned())),
            (&upper, "a", ManifestSelector::Digest(DIGEST.to_owned())),
        ] {
            let target = OciReference::parse(uri).unwrap();
            assert_eq!((target.repository.as_str(), &target.manifests), (repository, &manifests));
            assert_eq!(target.name, uri);
        }
        let target = OciReference::parse("oci://docker.io/smollm:latest").unwrap();
        assert_eq!(target.endpoint.base.as_str(), DOCKER_HUB_API);
        assert_eq!(
            (target.account.as_str(), target.repository.as_str()),
            ("index.docker.io", "library/smollm")
        );
    }

    #[test]
    fn invalid_repositories() {
        for path in [
            "",
            "A",
            "a//b",
            "a/../b",
            "a:",
            "a:b c",
            "a@sha256:12",
            "a@md5:00",
            "-a",
            "a?b",
            "a%2fb",
        ] {
            assert!(OciReference::parse(&format!("oci://ghcr.io/{path}")).is_err(), "{path}");
        }
    }

    proptest! {
        /// The requested URLs are below the repository.
        #[test]
        fn urls_stay_below_the_repository(path in "[a-z0-9./:@_%?#-]{0,40}") {
            if let Ok(target) = OciReference::parse(&format!("oci://ghcr.io/{path}")) {
                let url = target.endpoint.base.join(&format!("v2/{}/tags/list", target.repository)).unwrap();
                prop_assert_eq!(url.path(), format!("/v2/{}/tags/list", target.repository));
                prop_assert!(url.query().is_none() && url.fragment().is_none());
            }
        }
    }
}
