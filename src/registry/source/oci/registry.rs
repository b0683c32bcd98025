//! What is asked of a registry (OCI distribution specification 1.1): never more than a bounded answer.

use super::super::endpoint::{Endpoint, is_private};
use super::super::remote::http::{self, Http};
use super::super::remote::retry::{Failure, attempts};
use super::challenge::Challenge;
use super::credentials::Credentials;
use super::manifest;
use super::reference::Target;
use crate::checkpoint::{RemoteError, display_name};
use crate::seal::canonical::hex;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LINK, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::sync::{Mutex, PoisonError};
use url::Url;
use zeroize::Zeroizing;

/// Tags that are asked for at once, and the longest answer.
const TAGS: &str = "100";
const MOST_TAG_BYTES: u64 = 1 << 20;

/// Longest answer with a token.
const MOST_TOKEN_BYTES: u64 = 256 << 10;

/// A repository of a registry.
#[derive(Debug)]
pub(super) struct Registry {
    http: Http,
    endpoint: Endpoint,
    repository: String,
    account: String,
    credentials: Credentials,
    /// What requests are sent with, once it was asked for.
    authorization: Mutex<Option<HeaderValue>>,
}

/// A manifest as it was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their digest: `sha256:…`.
    pub digest: String,
    /// The digest that the registry says it has, where it says so.
    pub stated: Option<String>,
}

/// Some tags, and where the next ones are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tags {
    pub names: Vec<String>,
    pub next: Option<Url>,
}

/// The answer to a question for tags.
#[derive(Deserialize)]
struct TagList {
    /// Null where there are none.
    tags: Option<Vec<String>>,
}

/// The answer of a server of tokens.
#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Zeroed,
    #[serde(default)]
    access_token: Zeroed,
}

/// Text that does not stay in memory.
#[derive(Default)]
struct Zeroed(Zeroizing<String>);

impl<'de> Deserialize<'de> for Zeroed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl Registry {
    /// The repository of a target.
    pub fn new(http: Http, target: &Target, credentials: Credentials) -> Self {
        Self {
            http,
            endpoint: target.endpoint.clone(),
            repository: target.repository.clone(),
            account: target.account.clone(),
            credentials,
            authorization: Mutex::default(),
        }
    }

    /// The URL of something in it. What is joined consists of characters that stand for themselves: the
    /// grammar of repositories, tags and digests has no others.
    pub fn url(&self, kind: &str, name: &str) -> Url {
        let mut url = self.endpoint.base.clone();
        url.set_path(&format!("v2/{}/{kind}/{name}", self.repository));
        url
    }

    /// What something in it is called in messages.
    pub fn place(&self, name: &str) -> String {
        let separator = if name.contains(':') { '@' } else { ':' };
        format!("{}/{}{separator}{}", self.endpoint.name, self.repository, display_name(name))
    }

    /// The manifest of a tag or digest; `None`: there is none.
    ///
    /// # Errors
    /// When there is no answer, or a longer one than a manifest may be.
    pub fn manifest(&self, reference: &str) -> Result<Option<Found>, RemoteError> {
        let url = self.url("manifests", reference);
        let most = manifest::MOST_BYTES as u64;
        let accept = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(manifest::ACCEPTED))]);
        attempts(self.http.limits(), most, || async {
            let response = self.ask(&url, accept.clone()).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            expect_ok(&response)?;
            let stated = response.headers().get("docker-content-digest");
            let stated = stated.and_then(|value| value.to_str().ok()).map(str::to_owned);
            let bytes = http::body(response, most).await?;
            let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
            Ok(Some(Found { bytes, digest, stated }))
        })
    }

    /// The first tags.
    pub fn first_tags(&self) -> Url {
        let mut url = self.url("tags", "list");
        url.query_pairs_mut().append_pair("n", TAGS);
        url
    }

    /// Tags, from where [`Registry::first_tags`] or [`Tags::next`] says; `None`: there is no such
    /// repository.
    ///
    /// # Errors
    /// When there is no answer, or none that can be used: also when the next tags would be elsewhere.
    pub fn tags(&self, url: &Url) -> Result<Option<Tags>, RemoteError> {
        attempts(self.http.limits(), MOST_TAG_BYTES, || async {
            let response = self.ask(url, HeaderMap::new()).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            expect_ok(&response)?;
            let link = response.headers().get(LINK).and_then(|value| value.to_str().ok());
            let next =
                link.and_then(next_link).map(|next| self.next_page(url, next)).transpose()?;
            let bytes = http::body(response, MOST_TAG_BYTES).await?;
            let list: TagList = serde_json::from_slice(&bytes)
                .map_err(|_| Failure::unavailable("the answer is no list of tags"))?;
            Ok(Some(Tags { names: list.tags.unwrap_or_default(), next }))
        })
    }

    /// The next page, which is on the same server and of the same list.
    fn next_page(&self, url: &Url, next: &str) -> Result<Url, Failure> {
        let joined = url.join(next).ok();
        let is_same =
            |next: &Url| next.origin() == url.origin() && next.path() == url.path() && next != url;
        joined
            .filter(is_same)
            .ok_or_else(|| Failure::unavailable("the next page of tags would be another list"))
    }

    /// Referrers of a manifest, as bytes of an index; `None`: the registry has no such API.
    ///
    /// # Errors
    /// As for [`Registry::manifest`].
    pub fn referrers(&self, digest: &str) -> Result<Option<Vec<u8>>, RemoteError> {
        let (url, most) = (self.url("referrers", digest), manifest::MOST_BYTES as u64);
        attempts(self.http.limits(), most, || async {
            let response = self.ask(&url, HeaderMap::new()).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            expect_ok(&response)?;
            Ok(Some(http::body(response, most).await?))
        })
    }

    /// The client and its limits.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Asks once, with credentials when they are asked for.
    ///
    /// # Errors
    /// When there is no answer, or credentials are wanted that are not there.
    pub async fn ask(&self, url: &Url, headers: HeaderMap) -> Result<Response, Failure> {
        let known = self.authorization();
        let response = self.send(url, headers.clone(), known.clone()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let renewed = match self.authorization() {
            // Somebody else got it meanwhile.
            now if now != known && now.is_some() => now,
            _ => {
                let got = self.authorize(response.headers()).await?;
                *self.lock() = Some(got.clone());
                Some(got)
            }
        };
        let response = self.send(url, headers, renewed).await?;
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.refused(&format!("the registry answers {}", response.status())))
            }
            _ => Ok(response),
        }
    }

    async fn send(
        &self,
        url: &Url,
        mut headers: HeaderMap,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, Failure> {
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        self.http.send(url, headers).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<HeaderValue>> {
        self.authorization.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authorization(&self) -> Option<HeaderValue> {
        self.lock().clone()
    }

    /// What the registry asks for.
    async fn authorize(&self, headers: &HeaderMap) -> Result<HeaderValue, Failure> {
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
                Err(self.refused("a password is not sent where others can read it"))
            }
            (Challenge::Basic, _) => Err(self.refused("the registry asks for a password")),
            (Challenge::Bearer { realm, service }, _) => {
                self.token(realm, service.as_deref()).await
            }
        }
    }

    /// A token, to pull from this repository alone.
    async fn token(&self, mut realm: Url, service: Option<&str>) -> Result<HeaderValue, Failure> {
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
            Some(form) => self.http.send_form(&realm, form).await?,
            None => {
                let mut query = realm.query_pairs_mut();
                service.map(|service| query.append_pair("service", service));
                query.append_pair("scope", &scope);
                drop(query);
                self.http.send(&realm, headers).await?
            }
        };
        if response.status() != StatusCode::OK {
            let why = format!("the server of its tokens answers {}", response.status());
            return Err(self.refused(&why));
        }
        let bytes = Zeroizing::new(http::body(response, MOST_TOKEN_BYTES).await?);
        let answer: Result<Token, _> = serde_json::from_slice(&bytes);
        let answer = answer.map_err(|_| self.refused("the server of its tokens gives none"))?;
        let token =
            [answer.token.0, answer.access_token.0].into_iter().find(|text| !text.is_empty());
        sensitive(
            "Bearer ",
            &token.ok_or_else(|| self.refused("the server of its tokens gives none"))?,
        )
    }

    /// That nothing comes of it, and what could be done about the credentials.
    fn refused(&self, why: &str) -> Failure {
        let account = &self.account;
        Failure::unavailable(match &self.credentials {
            Credentials::None => {
                format!("{why}, and there are no credentials for {account} in Docker's config.json")
            }
            Credentials::Helper(program) => format!(
                "{why}; the credentials for {account} are kept by the program docker-credential-{}, \
                 which is not executed: they have to stand in Docker's config.json",
                display_name(program)
            ),
            _ => format!("{why}, with the credentials for {account} in Docker's config.json"),
        })
    }
}

/// That the answer is one.
fn expect_ok(response: &Response) -> Result<(), Failure> {
    match response.status() {
        StatusCode::OK => Ok(()),
        status => Err(Failure::unavailable(format!("the registry answers {status}"))),
    }
}

/// RFC 7617.
fn basic(user: &str, password: &str) -> Result<HeaderValue, Failure> {
    use base64::Engine;
    let pair = Zeroizing::new(format!("{user}:{password}"));
    let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()));
    sensitive("Basic ", &encoded)
}

/// A header that no debugging output shows.
fn sensitive(scheme: &str, secret: &str) -> Result<HeaderValue, Failure> {
    let text = Zeroizing::new(format!("{scheme}{secret}"));
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| Failure::unavailable("the credentials cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The target of the link to the next page (RFC 8288).
fn next_link(value: &str) -> Option<&str> {
    let (target, parameters) = value.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = |parameter: &str| {
        let parameter = parameter.trim().replace('"', "");
        parameter.eq_ignore_ascii_case("rel=next")
    };
    parameters.split([';', ',']).any(is_next).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links_to_the_next_page() {
        assert_eq!(
            next_link("</v2/a/tags/list?last=b>; rel=\"next\""),
            Some("/v2/a/tags/list?last=b")
        );
        assert_eq!(next_link("<x>;rel=next"), Some("x"));
        for none in ["", "<x>", "x; rel=next", "<x; rel=next", "<x>; rel=prev"] {
            assert_eq!(next_link(none), None, "{none}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let value = basic("me", "s3cret").unwrap();
        assert!(!format!("{value:?}").contains("bWU6"));
        assert!(sensitive("Bearer ", "a\nb").is_err());
    }

    proptest! {
        #[test]
        fn any_link_is_read(value in "<?[ -~]{0,40}") {
            let _ = next_link(&value);
        }
    }
}
