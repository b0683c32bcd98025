//! Parses the server in the URI of a source: `SCHEME://host[:port]/path`, or `SCHEME+http://…` and `SCHEME+https://…` to
//! choose the protocol.

use super::SourceError;
use url::{Host, Url};

/// A server and a path on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The base URL: `https://host[:port]/` or `http://host[:port]/`.
    pub base: Url,
    /// The URI up to the path, as the user wrote it: `oci://host:port`.
    pub name: String,
    /// The path, as the user wrote it, without surrounding slashes.
    pub path: String,
}

impl Endpoint {
    /// Parses a URI of this scheme. Without an explicit protocol, plain HTTP is used for loopback addresses only.
    ///
    /// # Errors
    /// Returns [`SourceError::Invalid`] if the URI is not valid. The message does not repeat parts that may hold a
    /// password.
    pub(super) fn parse(uri: &str, scheme: &str) -> Result<Self, SourceError> {
        let invalid = |source_name: &str, why: &str| SourceError::Invalid {
            source_name: source_name.to_owned(),
            reason: why.to_owned(),
        };
        let expected = format!("expected {scheme}://host[:port]/…");
        let (given, rest) = uri.split_once("://").ok_or_else(|| invalid(scheme, &expected))?;
        let given = given.to_ascii_lowercase();
        let protocol = match given.strip_prefix(scheme) {
            Some("") => None,
            Some("+http") => Some("http"),
            Some("+https") => Some("https"),
            _ => return Err(invalid(&given, &expected)),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some((_, host)) = authority.rsplit_once('@') {
            let why = "credentials in a URI are not accepted: set them in the environment, or in the \
                       configuration of the registry's own tools";
            return Err(invalid(&format!("{given}://{host}"), why));
        }
        let name = format!("{given}://{}", authority.to_ascii_lowercase());
        let parsed = |protocol| {
            let url = Url::parse(&format!("{protocol}://{authority}/"));
            // The authority must not contain a path, a query or a fragment.
            url.ok().filter(|url| url.path() == "/" && url.query().or(url.fragment()).is_none())
        };
        let secure = parsed("https").ok_or_else(|| invalid(&name, &expected))?;
        let plain = match protocol {
            Some(protocol) => protocol == "http",
            None => is_loopback(&secure),
        };
        // Parsed again, because the default port depends on the protocol.
        let base = match plain {
            true => parsed("http").ok_or_else(|| invalid(&name, &expected))?,
            false => secure,
        };
        Ok(Self { base, name, path: path.trim_matches('/').to_owned() })
    }

    /// Returns whether the connection is encrypted or local, so that passwords may be sent.
    pub(super) fn is_private(&self) -> bool {
        is_private(&self.base)
    }
}

/// Returns whether a connection to `url` is encrypted or local, so that passwords may be sent.
pub(crate) fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || is_loopback(url)
}

/// Returns whether `url` has a loopback address.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn protocols_of_servers() {
        for (uri, base, name, path) in [
            ("oci://ghcr.io/a/b", "https://ghcr.io/", "oci://ghcr.io", "a/b"),
            ("oci://GHCR.io:5000/a/", "https://ghcr.io:5000/", "oci://ghcr.io:5000", "a"),
            ("oci://localhost:5000/a", "http://localhost:5000/", "oci://localhost:5000", "a"),
            ("oci://127.0.0.1", "http://127.0.0.1/", "oci://127.0.0.1", ""),
            ("oci://[::1]:80/a", "http://[::1]/", "oci://[::1]:80", "a"),
            ("oci+http://ghcr.io/a", "http://ghcr.io/", "oci+http://ghcr.io", "a"),
            ("oci+https://localhost/a", "https://localhost/", "oci+https://localhost", "a"),
        ] {
            let endpoint = Endpoint::parse(uri, "oci").unwrap();
            assert_eq!(endpoint.base.as_str(), base, "{uri}");
            assert_eq!((endpoint.name.as_str(), endpoint.path.as_str()), (name, path), "{uri}");
        }
        assert!(Endpoint::parse("oci://ghcr.io/a", "oci").unwrap().is_private());
        assert!(Endpoint::parse("oci://127.1.2.3/a", "oci").unwrap().is_private());
        assert!(!Endpoint::parse("oci+http://10.0.0.1/a", "oci").unwrap().is_private());
    }

    #[test]
    fn invalid_servers() {
        for uri in [
            "",
            "oci",
            "oci:/x/a",
            "s3://x/a",
            "oci+ftp://x/a",
            "oci://",
            "oci:///a",
            "oci://a b/c",
        ] {
            assert!(Endpoint::parse(uri, "oci").is_err(), "{uri}");
        }
        for uri in ["oci://x?y/a", "oci://x#y/a", "oci://x:99999/a"] {
            assert!(Endpoint::parse(uri, "oci").is_err(), "{uri}");
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        let error = Endpoint::parse("oci://me:s3cret@ghcr.io/a", "oci").unwrap_err().to_string();
        assert!(error.contains("oci://ghcr.io") && !error.contains("s3cret"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_server_or_an_error(text in "\\PC{0,40}") {
            let _ = Endpoint::parse(&text, "oci");
            if let Ok(endpoint) = Endpoint::parse(&format!("oci://{text}"), "oci") {
                prop_assert!(endpoint.base.has_host());
                prop_assert_eq!(endpoint.base.username(), "");
                prop_assert_eq!(endpoint.base.path(), "/");
            }
        }
    }
}
