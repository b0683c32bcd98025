//! Requests to a registry (OCI distribution specification 1.1) with bounded responses.

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

/// The number of tags in one page.
const PAGE_SIZE: &str = "100";
/// The longest page of tags in bytes.
const MAX_TAG_BYTES: u64 = 1 << 20;

/// The largest number of logins for one request. More than one may be needed, because a token that another thread
/// obtained may have expired.
const MAX_LOGINS: usize = 2;

/// A client of one repository of a registry.
#[derive(Debug)]
pub(super) struct RegistryClient {
    http: Http,
    endpoint: Endpoint,
    repository: String,
    login: Login,
    /// The authorization header, after the registry required one.
    authorization: Mutex<Option<HeaderValue>>,
}

/// A fetched manifest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FetchedManifest {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The digest of the bytes: `sha256:…`.
    pub digest: String,
    /// The digest that the registry states, if it states one.
    pub declared_digest: Option<String>,
}

/// A page of tags, and the URL of the next page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tags {
    pub names: Vec<String>,
    pub next: Option<Url>,
}

/// The JSON of a page of tags.
#[derive(Deserialize)]
struct TagList {
    /// The tags; null if there are none.
    tags: Option<Vec<String>>,
}

impl RegistryClient {
    /// Creates a client of the repository of a target.
    pub(super) fn new(http: Http, target: &OciReference, credentials: Credentials) -> Self {
        Self {
            http,
            endpoint: target.endpoint.clone(),
            repository: target.repository.clone(),
            login: Login::new(target, credentials),
            authorization: Mutex::default(),
        }
    }

    /// Returns the URL of a part of the repository. No escaping is needed: the grammars of repositories, tags and digests
    /// allow unreserved characters only.
    pub(super) fn url(&self, kind: &str, name: &str) -> Url {
        let mut url = self.endpoint.base.clone();
        url.set_path(&format!("v2/{}/{kind}/{name}", self.repository));
        url
    }

    /// Returns the name of a tag or digest for messages.
    pub(super) fn place(&self, name: &str) -> String {
        let separator = if name.contains(':') { '@' } else { ':' };
        format!("{}/{}{separator}{}", self.endpoint.name, self.repository, display_name(name))
    }

    /// Fetches the manifest of a tag or digest; `None` if it does not exist.
    ///
    /// # Errors
    /// Returns [`RemoteError::Unavailable`] if the registry does not answer, or if the manifest is too long.
    pub(super) fn manifest(&self, reference: &str) -> Result<Option<FetchedManifest>, RemoteError> {
        let url = self.url("manifests", reference);
        let max_bytes = manifest::MAX_MANIFEST_BYTES as u64;
        let accept = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(manifest::ACCEPTED))]);
        self.http.with_retries(max_bytes, || async {
            let response = self.request(&url, accept.clone()).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            expect_ok(&response)?;
            let declared = response.headers().get("docker-content-digest");
            let declared = declared.and_then(|value| value.to_str().ok()).map(str::to_owned);
            let bytes = http::body(response, max_bytes).await?;
            let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
            Ok(Some(FetchedManifest { bytes, digest, declared_digest: declared }))
        })
    }

    /// Returns the URL of the first page of tags.
    pub(super) fn first_tags(&self) -> Url {
        let mut url = self.url("tags", "list");
        url.query_pairs_mut().append_pair("n", PAGE_SIZE);
        url
    }

    /// Fetches a page of tags from the URL of [`RegistryClient::first_tags`] or [`Tags::next`]; `None` if the repository
    /// does not exist.
    ///
    /// # Errors
    /// Returns [`RemoteError::Unavailable`] if the registry does not give a valid response, or if the next page is not on the
    /// same server.
    pub(super) fn tags(&self, url: &Url) -> Result<Option<Tags>, RemoteError> {
        self.http.with_retries(MAX_TAG_BYTES, || async {
            let response = self.request(url, HeaderMap::new()).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            expect_ok(&response)?;
            let link = response.headers().get(LINK).and_then(|value| value.to_str().ok());
            let next =
                link.and_then(next_link).map(|next| self.next_page(url, next)).transpose()?;
            let bytes = http::body(response, MAX_TAG_BYTES).await?;
            let list: TagList = serde_json::from_slice(&bytes)
                .map_err(|_| AttemptError::unavailable("the response is not a list of tags"))?;
            Ok(Some(Tags { names: list.tags.unwrap_or_default(), next }))
        })
    }

    /// Returns the URL of the next page, which must be on the same server and have the same path.
    fn next_page(&self, url: &Url, next: &str) -> Result<Url, AttemptError> {
        let joined = url.join(next).ok();
        let is_same =
            |next: &Url| next.origin() == url.origin() && next.path() == url.path() && next != url;
        joined
            .filter(is_same)
            .ok_or_else(|| AttemptError::unavailable("the next page of tags has an unexpected URL"))
    }

    /// Fetches the index of the referrers of a manifest; `None` if the registry does not support this API.
    ///
    /// # Errors
    /// Returns the errors of [`RegistryClient::manifest`].
    pub(super) fn referrers(&self, digest: &str) -> Result<Option<Vec<u8>>, RemoteError> {
        let (url, max_bytes) = (self.url("referrers", digest), manifest::MAX_MANIFEST_BYTES as u64);
        self.http.with_retries(max_bytes, || async {
            let response = self.request(&url, HeaderMap::new()).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            expect_ok(&response)?;
            Ok(Some(http::body(response, max_bytes).await?))
        })
    }

    /// Returns the HTTP client.
    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    /// Sends one request, and logs in if the registry requires it.
    ///
    /// # Errors
    /// Returns an [`AttemptError`] if there is no response, or if the login fails.
    pub(super) async fn request(
        &self,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<Response, AttemptError> {
        let mut authorization = self.authorization();
        let mut logins = 0;
        loop {
            let response = self.send(url, headers.clone(), authorization.clone()).await?;
            match response.status() {
                StatusCode::UNAUTHORIZED if logins < MAX_LOGINS => {}
                StatusCode::UNAUTHORIZED => {
                    return Err(self.login.refused("the registry returned 401 Unauthorized"));
                }
                _ => return Ok(response),
            }
            logins += 1;
            authorization = match self.authorization() {
                // Another thread has logged in meanwhile.
                now if now != authorization && now.is_some() => now,
                _ => {
                    let header = self.login.authorize(&self.http, response.headers()).await?;
                    *self.lock() = Some(header.clone());
                    Some(header)
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

/// Checks that the status is 200.
fn expect_ok(response: &Response) -> Result<(), AttemptError> {
    match response.status() {
        StatusCode::OK => Ok(()),
        status => Err(AttemptError::unavailable(format!("the registry returned {status}"))),
    }
}

/// Returns the target of the link to the next page (RFC 8288).
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
