//! What a registry asks for before it answers (RFC 7235, and the token authentication of the
//! distribution project).

use super::super::endpoint::is_private;
use url::Url;

/// What it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A name and a password.
    Basic,
    /// A token of this server.
    Bearer {
        /// Where it is to be had.
        realm: Url,
        /// Whom it is for.
        service: Option<String>,
    },
}

impl Challenge {
    /// Of the values of `WWW-Authenticate`, in answer to a request that was sent to `asked`. A token is
    /// taken rather than a password sent each time.
    ///
    /// # Errors
    /// When nothing is asked for that can be given: also when a token is to be had where others can read
    /// the password, although the registry itself is not.
    pub(super) fn parse<'v>(
        values: impl Iterator<Item = &'v str>,
        asked: &Url,
    ) -> Result<Self, &'static str> {
        let mut basic = false;
        for value in values {
            // A challenge that cannot be read hides those behind it, not those before it.
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
                    let realm = parameter("realm").ok_or("it asks for a token of no server")?;
                    return Self::bearer(&realm, parameter("service"), asked);
                }
            }
        }
        match basic {
            true => Ok(Self::Basic),
            false => Err("it asks for credentials of a kind that is not supported"),
        }
    }

    fn bearer(realm: &str, service: Option<String>, asked: &Url) -> Result<Self, &'static str> {
        let realm = Url::parse(realm).map_err(|_| "it asks for a token of no server")?;
        if !matches!(realm.scheme(), "http" | "https") {
            return Err("it asks for a token of a server that does not speak HTTP");
        }
        if asked.scheme() == "https" && !is_private(&realm) {
            return Err("it asks for a token over a connection that others can read");
        }
        Ok(Self::Bearer { realm, service })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(values: &[&str], asked: &str) -> Result<Challenge, &'static str> {
        Challenge::parse(values.iter().copied(), &Url::parse(asked).unwrap())
    }

    #[test]
    fn challenges() {
        let realm = Url::parse("https://auth.docker.io/token").unwrap();
        let bearer = Challenge::Bearer { realm, service: Some("registry.docker.io".to_owned()) };
        let asked = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull""#;
        assert_eq!(parse(&[asked], "https://x/"), Ok(bearer.clone()));
        assert_eq!(parse(&["Basic realm=\"x\"", asked], "https://x/"), Ok(bearer));
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
        // A registry that is spoken to in the open can only ask so.
        assert!(parse(&["Bearer realm=\"http://elsewhere/token\""], "http://x/").is_ok());
    }

    proptest! {
        #[test]
        fn any_header_is_a_challenge_or_an_error(value in "(Basic|Bearer)?[ -~]{0,60}") {
            let _ = parse(&[&value], "https://x/");
        }
    }
}
