//! Requests to an MLflow server (REST API 2.0 of MLflow 3) with bounded responses.

use super::super::endpoint::Endpoint;
use super::super::remote::http::{self, Http};
use super::super::remote::retry::AttemptError;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RANGE};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tensorseal_format::RemoteError;
use url::Url;
use zeroize::Zeroizing;

/// The number of versions in one page.
const PAGE_SIZE: &str = "200";

/// The longest response in bytes. A directory of a hundred thousand files fits.
const MAX_BYTES: u64 = 32 << 20;

/// A client of an MLflow server.
#[derive(Debug)]
pub(super) struct MlflowServer {
    http: Http,
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
    /// Whether advice are withheld because the connection is not encrypted.
    withheld: bool,
}

/// A version of a registered model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Version {
    pub name: String,
    pub version: String,
    #[serde(default)]
    pub status: Option<String>,
    /// The source from which the version was registered: `models:/m-…` for a logged model.
    #[serde(default)]
    pub source: Option<String>,
}

/// A page of versions, and the token of the next page.
#[derive(Debug, Deserialize)]
pub(super) struct Versions {
    #[serde(default)]
    pub model_versions: Vec<Version>,
    #[serde(default)]
    pub next_page_token: Option<String>,
}

/// An entry of a directory of artifacts.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Artifact {
    pub path: String,
    #[serde(default)]
    pub is_dir: bool,
    #[serde(default, deserialize_with = "number")]
    pub file_size: Option<u64>,
}

#[derive(Deserialize)]
struct OneVersion {
    model_version: Version,
}

#[derive(Deserialize)]
struct DownloadUri {
    artifact_uri: String,
}

#[derive(Deserialize)]
struct Artifacts {
    #[serde(default)]
    files: Vec<Artifact>,
}

/// Deserialises a number: the JSON of protocol buffers writes numbers of 64 bits as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    use serde::de::Error;
    match Option::<serde_json::Value>::deserialize(deserializer)? {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::String(text)) => text.parse().map(Some).map_err(D::Error::custom),
        Some(other) => other.as_u64().map(Some).ok_or_else(|| D::Error::custom("not a length")),
    }
}

/// Returns the header with the advice that MLflow's client uses: `MLFLOW_TRACKING_TOKEN`, or
/// `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.
fn authorization(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<HeaderValue>, &'static str> {
    use base64::Engine;
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(Zeroizing::new);
    let text = match (set("MLFLOW_TRACKING_USERNAME"), set("MLFLOW_TRACKING_TOKEN")) {
        (Some(user), _) => {
            let password = set("MLFLOW_TRACKING_PASSWORD").unwrap_or_default();
            let pair = Zeroizing::new(format!("{}:{}", *user, *password));
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair.as_bytes());
            Zeroizing::new(format!("Basic {encoded}"))
        }
        (None, Some(token)) => Zeroizing::new(format!("Bearer {}", *token)),
        (None, None) => return Ok(None),
    };
    let value = HeaderValue::from_str(&text);
    let mut value = value.map_err(
        |_| "MLFLOW_TRACKING_TOKEN contains characters that are not allowed in a header",
    )?;
    value.set_sensitive(true);
    Ok(Some(value))
}

impl MlflowServer {
    /// Creates a client with the advice of the environment.
    ///
    /// # Errors
    /// Returns a message if the advice are not valid.
    pub(super) fn new(http: Http, endpoint: Endpoint) -> Result<Self, &'static str> {
        let authorization = authorization(|name| std::env::var(name).ok())?;
        let withheld = authorization.is_some() && !endpoint.is_private();
        let authorization = authorization.filter(|_| !withheld);
        Ok(Self { http, endpoint, authorization, withheld })
    }

    /// Returns a page of the versions of all models or of one. `token` is that of the previous page.
    ///
    /// # Errors
    /// Returns [`RemoteError::Unavailable`] if the server does not give a valid response.
    pub(super) fn versions(
        &self,
        model: Option<&str>,
        token: Option<&str>,
    ) -> Result<Versions, RemoteError> {
        let mut url = self.api("mlflow/model-versions/search");
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("max_results", PAGE_SIZE);
            query.append_pair("order_by", "name ASC").append_pair("order_by", "version_number ASC");
            if let Some(model) = model {
                // Quotation marks cannot be escaped in a filter.
                let quote = if model.contains('\'') { '"' } else { '\'' };
                query.append_pair("filter", &format!("name={quote}{model}{quote}"));
            }
            token.map(|token| query.append_pair("page_token", token));
        }
        self.json(&url)
    }

    /// Returns one version.
    ///
    /// # Errors
    /// Returns the errors of [`MlflowServer::versions`].
    pub(super) fn version(&self, model: &str, version: &str) -> Result<Version, RemoteError> {
        let url = self.version_url("mlflow/model-versions/get", model, version);
        self.json(&url).map(|OneVersion { model_version }| model_version)
    }

    /// Returns the URI of the files of a version.
    ///
    /// # Errors
    /// Returns the errors of [`MlflowServer::versions`].
    pub(super) fn download_uri(&self, model: &str, version: &str) -> Result<String, RemoteError> {
        let url = self.version_url("mlflow/model-versions/get-download-uri", model, version);
        self.json(&url).map(|DownloadUri { artifact_uri }| artifact_uri)
    }

    /// Returns the entries of a directory of artifacts.
    ///
    /// # Errors
    /// Returns the errors of [`MlflowServer::versions`].
    pub(super) fn artifacts(&self, url: &Url) -> Result<Vec<Artifact>, RemoteError> {
        self.json(url).map(|Artifacts { files }| files)
    }

    /// Returns the length of a file in bytes; `None` if the server does not state it.
    ///
    /// # Errors
    /// Returns the errors of [`MlflowServer::versions`].
    pub(super) fn length(&self, url: &Url) -> Result<Option<u64>, RemoteError> {
        self.http.with_retries(0, || async {
            let range = HeaderMap::from_iter([(RANGE, http::range_header(0, 1)?)]);
            let response = self.request(url, range).await?;
            match response.status() {
                StatusCode::PARTIAL_CONTENT => {
                    Ok(http::content_range(response.headers()).and_then(|(_, length)| length))
                }
                StatusCode::RANGE_NOT_SATISFIABLE => Ok(Some(0)),
                StatusCode::OK => Ok(response.content_length()),
                status => Err(AttemptError::unavailable(format!("the server returned {status}"))),
            }
        })
    }

    /// Returns the URL of an API endpoint.
    pub(super) fn api(&self, path: &str) -> Url {
        self.at(&format!("api/2.0/{path}"))
    }

    /// Returns a URL of the server. `path` is not decoded.
    pub(super) fn at(&self, path: &str) -> Url {
        let mut url = self.endpoint.base.clone();
        url.set_path(path);
        url
    }

    /// Returns the endpoint as the user named it.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns the HTTP client.
    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    fn version_url(&self, path: &str, model: &str, version: &str) -> Url {
        let mut url = self.api(path);
        url.query_pairs_mut().append_pair("name", model).append_pair("version", version);
        url
    }

    fn json<T: DeserializeOwned>(&self, url: &Url) -> Result<T, RemoteError> {
        self.http.with_retries(0, || async {
            let response = self.request(url, HeaderMap::new()).await?;
            if response.status() != StatusCode::OK {
                let status = response.status();
                return Err(AttemptError::unavailable(format!("the server returned {status}")));
            }
            let bytes = http::body(response, MAX_BYTES).await?;
            serde_json::from_slice(&bytes)
                .map_err(|_| AttemptError::unavailable("the response is not valid MLflow JSON"))
        })
    }

    /// Sends one request with the advice.
    ///
    /// # Errors
    /// Returns an [`AttemptError`] if there is no response, or if the advice are refused.
    pub(super) async fn request(
        &self,
        url: &Url,
        mut headers: HeaderMap,
    ) -> Result<Response, AttemptError> {
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let response = self.http.send(url, headers).await?;
        let status = response.status();
        if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Ok(response);
        }
        let advice = match (self.withheld, &self.authorization) {
            (true, _) => {
                "the advice of the environment are not sent over an unencrypted connection: use mlflow+https://"
            }
            (_, Some(_)) => "check the advice in MLFLOW_TRACKING_*",
            (_, None) => {
                "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            }
        };
        Err(AttemptError::unavailable(format!("the server returned {status}: {advice}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(set: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let value = authorization(variable).unwrap()?;
        assert!(value.is_sensitive());
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn credentials_of_the_environment() {
        let (user, password) = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD");
        assert_eq!(header(&[]), None);
        assert_eq!(header(&[(user, "")]), None);
        assert_eq!(header(&[(user, "me"), (password, "s")]).unwrap(), "Basic bWU6cw==");
        assert_eq!(header(&[("MLFLOW_TRACKING_TOKEN", "t")]).unwrap(), "Bearer t");
        assert!(authorization(|_| Some("a\nb".to_owned())).is_ok_and(|value| value.is_some()));
        let token = |name: &str| (name == "MLFLOW_TRACKING_TOKEN").then(|| "a\nb".to_owned());
        assert!(authorization(token).is_err());
    }

    #[test]
    fn lengths_are_numbers_or_text() {
        let of = |text: &str| serde_json::from_str::<Artifact>(text).map(|a| a.file_size);
        assert_eq!(of(r#"{"path": "a", "file_size": 7}"#).unwrap(), Some(7));
        assert_eq!(of(r#"{"path": "a", "file_size": "7"}"#).unwrap(), Some(7));
        assert_eq!(of(r#"{"path": "a", "is_dir": true}"#).unwrap(), None);
        for wrong in ["-1", "\"x\"", "1.5", "[]", "\"99999999999999999999\""] {
            assert!(of(&format!(r#"{{"path": "a", "file_size": {wrong}}}"#)).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_page_is_parsed_or_refused(text in "\\{?[\\[\\]{}\":,a-z_0-9]{0,80}") {
            let _ = serde_json::from_str::<Versions>(&text);
            let _ = serde_json::from_str::<Artifacts>(&text);
        }
    }
}
