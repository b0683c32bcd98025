//! Logs in to a registry with a password, or with a token for one repository.

use super::super::endpoint::{Endpoint, is_private};
use super::super::remote::http::{Http, body};
use super::super::remote::retry::AttemptError;
use super::challenge::Challenge;
use super::credentials::Credentials;
use super::reference::OciReference;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use tensorseal_base::display::display_name;
use url::Url;
use zeroize::Zeroizing;

/// The longest response of a token server in bytes.
const MAX_TOKEN_BYTES: u64 = 256 << 10;

/// The credentials of an account, and the repository for which they are used.
#[derive(Debug)]
pub(super) struct Login {
    endpoint: Endpoint,
    repository: String,
    account: String,
    credentials: Credentials,
}

/// The response of a token server.
#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Zeroed,
    #[serde(default)]
    access_token: Zeroed,
}

/// A text that is overwritten when it is dropped.
#[derive(Default)]
struct Zeroed(Zeroizing<String>);

impl<'de> Deserialize<'de> for Zeroed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl Login {
    /// Prepares the login to the registry of a target.
    pub(super) fn new(target: &OciReference, credentials: Credentials) -> Self {
        Self {
            endpoint: target.endpoint.clone(),
            repository: target.repository.clone(),
            account: target.account.clone(),
            credentials,
        }
    }

    /// Returns the authorization header that a registry requires with these response headers.
    ///
    /// # Errors
    /// Returns an [`AttemptError`] if there are no suitable credentials, or if they may not be sent.
    pub(super) async fn authorize(
        &self,
        http: &Http,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, AttemptError> {
        let values =
            headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenge =
            Challenge::parse(values, &self.endpoint.base).map_err(|why| self.refused(why))?;
        let private = self.endpoint.is_private();
        match (challenge, &self.credentials) {
            (_, Credentials::Bearer(token)) if private => sensitive("Bearer ", token),
            (Challenge::Basic, Credentials::Password { user, password }) if private => {
                basic(user, password)
            }
            (Challenge::Basic, Credentials::Password { .. } | Credentials::Bearer(_)) => {
                Err(self.refused("the password is not sent over an unencrypted connection"))
            }
            (Challenge::Basic, _) => Err(self.refused("the registry requires a password")),
            (Challenge::Bearer { realm, service }, _) => {
                self.token(http, realm, service.as_deref()).await
            }
        }
    }

    /// Requests a token that allows pulling from this repository only.
    async fn token(
        &self,
        http: &Http,
        mut realm: Url,
        service: Option<&str>,
    ) -> Result<HeaderValue, AttemptError> {
        let scope = format!("repository:{}:pull", self.repository);
        let mut headers = HeaderMap::new();
        let mut form = None;
        match &self.credentials {
            Credentials::Password { user, password } if is_private(&realm) => {
                headers.insert(AUTHORIZATION, basic(user, password)?);
            }
            Credentials::Identity(refresh) if is_private(&realm) => {
                let mut pairs = url::form_urlencoded::Serializer::new(String::new());
                pairs.append_pair("grant_type", "refresh_token");
                pairs.append_pair("client_id", "tensorseal");
                pairs.append_pair("refresh_token", refresh);
                pairs.append_pair("scope", &scope);
                service.map(|service| pairs.append_pair("service", service));
                form = Some(pairs.finish());
            }
            _ => {}
        }
        let response = match form {
            Some(form) => http.send_form(&realm, form).await?,
            None => {
                let mut query = realm.query_pairs_mut();
                service.map(|service| query.append_pair("service", service));
                query.append_pair("scope", &scope);
                drop(query);
                http.send(&realm, headers).await?
            }
        };
        if response.status() != StatusCode::OK {
            let why = format!("the token server returned {}", response.status());
            return Err(self.refused(&why));
        }
        let bytes = Zeroizing::new(body(response, MAX_TOKEN_BYTES).await?);
        let token_response: Result<Token, _> = serde_json::from_slice(&bytes);
        let token_response =
            token_response.map_err(|_| self.refused("the token server returned no token"))?;
        let token = [token_response.token.0, token_response.access_token.0]
            .into_iter()
            .find(|text| !text.is_empty());
        sensitive(
            "Bearer ",
            &token.ok_or_else(|| self.refused("the token server returned no token"))?,
        )
    }

    /// Returns the error of a failed login, with advice about the credentials.
    pub(super) fn refused(&self, why: &str) -> AttemptError {
        let account = &self.account;
        AttemptError::unavailable(match &self.credentials {
            Credentials::None => {
                format!("{why}; Docker's config.json has no credentials for {account}")
            }
            Credentials::Helper(program) => format!(
                "{why}; the credentials for {account} are in the credential helper \
                 docker-credential-{}, which is not executed: store them in Docker's config.json",
                display_name(program)
            ),
            _ => format!("{why}; check the credentials for {account} in Docker's config.json"),
        })
    }
}

/// Returns the header of basic authentication (RFC 7617).
fn basic(user: &str, password: &str) -> Result<HeaderValue, AttemptError> {
    use base64::Engine;
    let pair = Zeroizing::new(format!("{user}:{password}"));
    let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()));
    sensitive("Basic ", &encoded)
}

/// Returns a header whose value is hidden in debug output.
fn sensitive(scheme: &str, secret: &str) -> Result<HeaderValue, AttemptError> {
    let text = Zeroizing::new(format!("{scheme}{secret}"));
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        AttemptError::unavailable(
            "the credentials contain characters that are not allowed in a header",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let value = basic("me", "s3cret").unwrap();
        assert!(!format!("{value:?}").contains("bWU6"));
        assert!(sensitive("Bearer ", "a\nb").is_err());
    }
}
