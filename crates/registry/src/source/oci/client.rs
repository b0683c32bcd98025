//! What is asked of a registry (OCI distribution specification 1.1): never more than a bounded answer.

use super::super::endpoint::Endpoint;
use super::super::remote::http::{self, Http};
use super::super::remote::retry::AttemptError;
use super::credentials::Credentials;
use super::login::Login;
use super::manifest;
use super::reference::OciReference;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LINK};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::sync::{Mutex, PoisonError};
use tensorseal_base::display::display_name;
use tensorseal_base::hex::hex;
use tensorseal_format::RemoteError;
use url::Url;

/// Tags that are asked for at once, and the longest answer.
const TAGS: &str = "100";
const MOST_TAG_BYTES: u64 = 1 << 20;

/// How often one request logs in: what somebody else got meanwhile may be used up as well.
const LOGINS: usize = 2;

/// A repository of a registry.
#[derive(Debug)]
pub(super) struct RegistryClient {
    http: Http,
    endpoint: Endpoint,
    repository: String,
    login: Login,
    /// What requests are sent with, once it was asked for.
    authorization: Mutex<Option<HeaderValue>>,
}

/// A manifest as it was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FetchedManifest {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their digest: `sha256:…`.
    pub digest: String,
    /// The digest that the registry says it has, where it says so.
    pub declared_digest: Option<String>,
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

impl RegistryClient {
    /// The repository of a target.
    pub(super) fn new(http: Http, target: &OciReference, credentials: Credentials) -> Self {
        Self {
            http,
            endpoint: target.endpoint.clone(),
            repository: target.repository.clone(),
            login: Login::new(target, credentials),
            authorization: Mutex::default(),
        }
    }

    /// The URL of something in it. What is joined consists of characters that stand for themselves: the
    /// grammar of repositories, tags and digests has no others.
    pub(super) fn url(&self, kind: &str, name: &str) -> Url {
        let mut url = self.endpoint.base.clone();
        url.set_path(&format!("v2/{}/{kind}/{name}", self.repository));
        url
    }

    /// What something in it is called in messages.
    pub(super) fn place(&self, name: &str) -> String {
        let separator = if name.contains(':') { '@' } else { ':' };
        format!("{}/{}{separator}{}", self.endpoint.name, self.repository, display_name(name))
    }

    /// The manifest of a tag or digest; `None`: there is none.
    ///
    /// # Errors
    /// When there is no answer, or a longer one than a manifest may be.
    pub(super) fn manifest(&self, reference: &str) -> Result<Option<FetchedManifest>, RemoteError> {
        let url = self.url("manifests", reference);
        let most = manifest::MAX_MANIFEST_BYTES as u64;
        let accept = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(manifest::ACCEPTED))]);
        self.http.with_retries(most, || async {
            let response = self.ask(&url, accept.clone()).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            expect_ok(&response)?;
            let stated = response.headers().get("docker-content-digest");
            let stated = stated.and_then(|value| value.to_str().ok()).map(str::to_owned);
            let bytes = http::body(response, most).await?;
            let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
            Ok(Some(FetchedManifest { bytes, digest, declared_digest: stated }))
        })
    }

    /// The first tags.
    pub(super) fn first_tags(&self) -> Url {
        let mut url = self.url("tags", "list");
        url.query_pairs_mut().append_pair("n", TAGS);
        url
    }

    /// Tags, from where [`RegistryClient::first_tags`] or [`Tags::next`] says; `None`: there is no such
    /// repository.
    ///
    /// # Errors
    /// When there is no answer, or none that can be used: also when the next tags would be elsewhere.
    pub(super) fn tags(&self, url: &Url) -> Result<Option<Tags>, RemoteError> {
        self.http.with_retries(MOST_TAG_BYTES, || async {
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
                .map_err(|_| AttemptError::unavailable("the answer is no list of tags"))?;
            Ok(Some(Tags { names: list.tags.unwrap_or_default(), next }))
        })
    }

    /// The next page, which is on the same server and of the same list.
    fn next_page(&self, url: &Url, next: &str) -> Result<Url, AttemptError> {
        let joined = url.join(next).ok();
        let is_same =
            |next: &Url| next.origin() == url.origin() && next.path() == url.path() && next != url;
        joined
            .filter(is_same)
            .ok_or_else(|| AttemptError::unavailable("the next page of tags would be another list"))
    }

    /// Referrers of a manifest, as bytes of an index; `None`: the registry has no such API.
    ///
    /// # Errors
    /// As for [`RegistryClient::manifest`].
    pub(super) fn referrers(&self, digest: &str) -> Result<Option<Vec<u8>>, RemoteError> {
        let (url, most) = (self.url("referrers", digest), manifest::MAX_MANIFEST_BYTES as u64);
        self.http.with_retries(most, || async {
            let response = self.ask(&url, HeaderMap::new()).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            expect_ok(&response)?;
            Ok(Some(http::body(response, most).await?))
        })
    }

    /// The client and its limits.
    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    /// Asks once, with credentials when they are asked for.
    ///
    /// # Errors
    /// When there is no answer, or credentials are wanted that are not there.
    pub(super) async fn ask(
        &self,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<Response, AttemptError> {
        let mut known = self.authorization();
        let mut logins = 0;
        loop {
            let response = self.send(url, headers.clone(), known.clone()).await?;
            match response.status() {
                StatusCode::UNAUTHORIZED if logins < LOGINS => {}
                StatusCode::UNAUTHORIZED => {
                    return Err(self.login.refused("the registry answers 401 Unauthorized"));
                }
                _ => return Ok(response),
            }
            logins += 1;
            known = match self.authorization() {
                // Somebody else got it meanwhile.
                now if now != known && now.is_some() => now,
                _ => {
                    let got = self.login.authorize(&self.http, response.headers()).await?;
                    *self.lock() = Some(got.clone());
                    Some(got)
                }
            };
        }
    }

    async fn send(
        &self,
        url: &Url,
        mut headers: HeaderMap,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, AttemptError> {
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
}

/// That the answer is one.
fn expect_ok(response: &Response) -> Result<(), AttemptError> {
    match response.status() {
        StatusCode::OK => Ok(()),
        status => Err(AttemptError::unavailable(format!("the registry answers {status}"))),
    }
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

    proptest! {
        #[test]
        fn any_link_is_read(value in "<?[ -~]{0,40}") {
            let _ = next_link(&value);
        }
    }
}
