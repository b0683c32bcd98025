//! Parses the authentication challenge of a registry (RFC 7235, and the token authentication of the distribution
//! project).

use super::super::endpoint::is_private;
use url::Url;

/// The authentication that a registry requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user name and a password.
    Basic,
    /// A token from this server.
    Bearer {
        /// The URL of the token server.
        realm: Url,
        /// The service for which the token is valid.
        service: Option<String>,
    },
}

impl Challenge {
    /// Parses the values of `WWW-Authenticate` in the response to a request to `requested`. A token is preferred to sending
    /// a password with each request.
    ///
    /// # Errors
    /// Returns a message if no challenge is supported, or if the token server has an unencrypted connection although the
    /// registry has an encrypted one.
    pub(super) fn parse<'v>(
        values: impl Iterator<Item = &'v str>,
        requested: &Url,
    ) -> Result<Self, &'static str> {
        let mut basic = false;
        for value in values {
            // A malformed challenge hides those after it, but not those before it.
            let parser = http_auth::parser::ChallengeParser::new(value);
            for challenge in parser.map_while(Result::ok) {
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    basic = true;
                } else if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let parameter = |name: &str| {
                        let mut all = challenge.params.iter();
                        let found = all.find(|(key, _)| key.eq_ignore_ascii_case(name));
                        found.map(|(_, value)| value.to_unescaped())
                    };
                    let realm = parameter("realm")
                        .ok_or("the registry requires a token, but names no valid token server")?;
                    return Self::bearer(&realm, parameter("service"), requested);
                }
            }
        }
        match basic {
            true => Ok(Self::Basic),
            false => Err("the registry requires an unsupported kind of authentication"),
        }
    }

    fn bearer(realm: &str, service: Option<String>, requested: &Url) -> Result<Self, &'static str> {
        let realm = Url::parse(realm)
            .map_err(|_| "the registry requires a token, but names no valid token server")?;
        if !matches!(realm.scheme(), "http" | "https") {
            return Err("the registry names a token server that does not use HTTP");
        }
        if requested.scheme() == "https" && !is_private(&realm) {
            return Err("the registry names a token server without an encrypted connection");
        }
        Ok(Self::Bearer { realm, service })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(values: &[&str], requested: &str) -> Result<Challenge, &'static str> {
        Challenge::parse(values.iter().copied(), &Url::parse(requested).unwrap())
    }

    #[test]
    fn challenges() {
        let realm = Url::parse("https://auth.docker.io/token").unwrap();
        let bearer = Challenge::Bearer { realm, service: Some("registry.docker.io".to_owned()) };
        let requested = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull""#;
        assert_eq!(parse(&[requested], "https://x/"), Ok(bearer.clone()));
        assert_eq!(parse(&["Basic realm=\"x\"", requested], "https://x/"), Ok(bearer));
        assert_eq!(parse(&["basic realm=\"x\""], "http://x/"), Ok(Challenge::Basic));
    }

    #[test]
    fn challenges_that_are_refused() {
        for values in [
            &[][..],
            &["Digest realm=\"x\""],
            &["Bearer service=\"x\""],
            &["Bearer realm=\"\""],
            &["Bearer realm=\"file:///etc/passwd\""],
            &["Bearer realm=\"http://elsewhere/token\""],
            &["\u{1}"],
        ] {
            assert!(parse(values, "https://x/").is_err(), "{values:?}");
        }
        // This is accepted if the connection to the registry is not encrypted either.
        assert!(parse(&["Bearer realm=\"http://elsewhere/token\""], "http://x/").is_ok());
    }

    proptest! {
        #[test]
        fn any_header_is_a_challenge_or_an_error(value in "(Basic|Bearer)?[ -~]{0,60}") {
            let _ = parse(&[&value], "https://x/");
        }
    }
}
