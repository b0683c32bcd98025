//! Finds and lists the files of a version.

use super::api::{MlflowServer, Version};
use percent_encoding::percent_decode_str;
use std::collections::HashSet;
use tensorseal_base::display::quoted;
use tensorseal_format::RemoteError;
use url::Url;

/// The largest depth of directories, as in a checkpoint.
const MAX_DEPTH: usize = 64;

/// The largest number of files of a model, as in a checkpoint.
const MAX_FILES: usize = 100_000;

/// The API endpoint at which the server proxies artifacts.
const PROXY: &str = "mlflow-artifacts/artifacts";

/// The location of the files of a version.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ArtifactLocation {
    /// The server proxies the files.
    Proxied {
        /// The components of their path.
        path: Vec<String>,
    },
    /// The files belong to a logged model, and only the server knows where they are stored.
    Logged {
        /// The id of the logged model.
        id: String,
        /// The name of the registered model.
        name: String,
        /// The version of the registered model.
        version: String,
    },
}

/// A file of a version.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ArtifactFile {
    /// The path in the model.
    pub path: String,
    /// The length in bytes.
    pub bytes: u64,
}

/// The files of a version, and sentences about those that cannot be listed.
#[derive(Debug, Default)]
pub(super) struct ArtifactListing {
    pub files: Vec<ArtifactFile>,
    pub problems: Vec<String>,
}

impl ArtifactLocation {
    /// Returns the location of a version whose files are at `uri`.
    ///
    /// # Errors
    /// Returns a message if the server does not proxy the files.
    pub(super) fn resolve(
        server: &MlflowServer,
        version: &Version,
        uri: &str,
    ) -> Result<Self, String> {
        if let Some(path) = proxied(server, uri)? {
            return Ok(Self::Proxied { path });
        }
        let source = version.source.as_deref().unwrap_or_default();
        if let Some(id) = source.strip_prefix("models:/").filter(|id| is_id(id)) {
            let (name, version) = (version.name.clone(), version.version.clone());
            return Ok(Self::Logged { id: id.to_owned(), name, version });
        }
        Err(format!(
            "the server does not proxy the files at {}: scan them as a separate source",
            without_secrets(uri)
        ))
    }

    /// Returns the URL of a directory.
    fn directory(&self, server: &MlflowServer, within: &[&str]) -> Url {
        let (mut url, key, path) = match self {
            Self::Proxied { path } => {
                let all = path.iter().map(String::as_str).chain(within.iter().copied());
                (server.api(PROXY), "path", all.collect::<Vec<_>>().join("/"))
            }
            Self::Logged { id, .. } => {
                let url = server.api(&format!("mlflow/logged-models/{id}/artifacts/directories"));
                (url, "artifact_directory_path", within.join("/"))
            }
        };
        if !path.is_empty() {
            url.query_pairs_mut().append_pair(key, &path);
        }
        url
    }

    /// Returns the URL of a file.
    pub(super) fn file(&self, server: &MlflowServer, path: &str) -> Url {
        match self {
            Self::Proxied { path: above } => {
                let mut url = server.api(PROXY);
                if let Ok(mut segments) = url.path_segments_mut() {
                    segments.extend(above.iter().map(String::as_str).chain(path.split('/')));
                }
                url
            }
            Self::Logged { name, version, .. } => {
                let mut url = server.at("model-versions/get-artifact");
                let mut query = url.query_pairs_mut();
                query.append_pair("path", path);
                query.append_pair("name", name).append_pair("version", version);
                drop(query);
                url
            }
        }
    }

    /// Lists all files, in byte order of their paths.
    ///
    /// # Errors
    /// Returns [`RemoteError::Unavailable`] if a directory cannot be listed, or if there are too many files.
    pub(super) fn files(&self, server: &MlflowServer) -> Result<ArtifactListing, RemoteError> {
        let mut found = ArtifactListing::default();
        let mut pending = vec![String::new()];
        // A directory that is listed twice is visited once.
        let mut directories = HashSet::new();
        let mut seen = 0;
        while let Some(directory) = pending.pop() {
            let within: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
            for entry in server.artifacts(&self.directory(server, &within))? {
                seen += 1;
                if seen > MAX_FILES {
                    let why = format!("the model has more than {MAX_FILES} files and directories");
                    return Err(RemoteError::Unavailable(why));
                }
                // Depending on the location, this is the whole path or its last component.
                let name = entry.path.rsplit('/').next().unwrap_or_default();
                let path = match directory.as_str() {
                    "" => name.to_owned(),
                    directory => format!("{directory}/{name}"),
                };
                if matches!(name, "" | "." | "..") || (entry.is_dir && within.len() >= MAX_DEPTH) {
                    found.problems.push(format!("skipped the invalid path {}", quoted(&path)));
                } else if entry.is_dir {
                    if directories.insert(path.clone()) {
                        pending.push(path);
                    }
                } else {
                    // The length of empty files is missing, and some stores state no lengths.
                    let bytes = match entry.file_size {
                        Some(bytes) => Some(bytes),
                        None => server.length(&self.file(server, &path))?,
                    };
                    match bytes {
                        Some(bytes) => found.files.push(ArtifactFile { path, bytes }),
                        None => {
                            let why = format!("the length of {} is unknown", quoted(&path));
                            found.problems.push(why);
                        }
                    }
                }
            }
        }
        found.files.sort_by(|a, b| a.path.cmp(&b.path));
        let listed = found.files.len();
        found.files.dedup_by(|a, b| a.path == b.path);
        if found.files.len() < listed {
            found.problems.push("the server lists the same file twice".to_owned());
        }
        Ok(found)
    }
}

/// Returns the components of the path of proxied artifacts; `None` if the server does not proxy them.
fn proxied(server: &MlflowServer, uri: &str) -> Result<Option<Vec<String>>, String> {
    let Some((scheme, rest)) = uri.split_once(':') else { return Ok(None) };
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
        None => ("", rest),
    };
    let below = format!("api/2.0/{PROXY}/");
    let path = match scheme {
        "mlflow-artifacts" => path,
        "http" | "https" => match path.strip_prefix(&below) {
            Some(path) => path,
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    if !authority.is_empty() && !is_server(server, authority) {
        let other = without_secrets(uri);
        return Err(format!("the files are on another server, which is not contacted: {other}"));
    }
    let parts = path.split('/').filter(|part| !part.is_empty()).map(|part| {
        let part = percent_decode_str(part).decode_utf8().map_err(|_| "it is not UTF-8")?;
        match part.as_ref() {
            "." | ".." => Err("it leads out of the artifact directory"),
            part => Ok(part.to_owned()),
        }
    });
    let parts: Result<Vec<_>, _> = parts.collect();
    parts.map(Some).map_err(|why| format!("the path of the files is not valid: {why}"))
}

/// Returns whether an authority is that of this server.
fn is_server(server: &MlflowServer, authority: &str) -> bool {
    let base = &server.endpoint().base;
    let other = Url::parse(&format!("{}://{authority}/", base.scheme()));
    other.is_ok_and(|other| other.origin() == base.origin())
}

/// Returns whether a text is the id of a logged model. It has no characters with a meaning in a URL.
fn is_id(text: &str) -> bool {
    text.len() > 2
        && text.starts_with("m-")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Returns a URI without the parts that may contain secrets, for messages.
fn without_secrets(uri: &str) -> String {
    let uri = uri.split(['?', '#']).next().unwrap_or_default();
    let shown = match uri.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}/{path}")
        }
        None => uri.to_owned(),
    };
    quoted(&shown)
}

#[cfg(test)]
mod tests {
    use super::super::super::endpoint::Endpoint;
    use super::super::super::remote::{RequestLimits, http::Http};
    use super::*;
    use proptest::prelude::*;

    fn server() -> MlflowServer {
        let endpoint = Endpoint::parse("mlflow://127.0.0.1:5000", "mlflow").unwrap();
        MlflowServer::new(Http::new(RequestLimits::default()).unwrap(), endpoint).unwrap()
    }

    fn version(source: &str) -> Version {
        Version {
            name: "a model".to_owned(),
            version: "3".to_owned(),
            status: None,
            source: Some(source.to_owned()),
        }
    }

    #[test]
    fn locations_of_files() {
        let server = server();
        let at =
            |uri: &str, source: &str| ArtifactLocation::resolve(&server, &version(source), uri);
        let path = || ["1", "models", "m-1"].map(str::to_owned).to_vec();
        for uri in [
            "mlflow-artifacts:/1/models/m-1",
            "mlflow-artifacts://127.0.0.1:5000/1/models/m-1",
            "http://127.0.0.1:5000/api/2.0/mlflow-artifacts/artifacts/1/models/m-1",
            "mlflow-artifacts:/1//models/m%2D1/",
        ] {
            assert_eq!(at(uri, ""), Ok(ArtifactLocation::Proxied { path: path() }), "{uri}");
        }
        assert!(
            matches!(at("s3://b/p", "models:/m-12"), Ok(ArtifactLocation::Logged { id, .. }) if id == "m-12")
        );
        for (uri, source) in [
            ("mlflow-artifacts://elsewhere/1", "models:/m-12"),
            ("mlflow-artifacts:/1/../2", ""),
            ("mlflow-artifacts:/1/%2e%2e/2", ""),
            ("s3://b/p", "s3://b/p"),
            ("s3://b/p", "models:/m-1/../x"),
            ("http://127.0.0.1:5000/elsewhere", ""),
            ("", ""),
        ] {
            assert!(at(uri, source).is_err(), "{uri} {source}");
        }
        let secret = at("https://me:s3cret@host/p?sig=s3cret", "").unwrap_err();
        assert!(secret.contains("https://host/p") && !secret.contains("s3cret"), "{secret}");
    }

    #[test]
    fn urls_of_files() {
        let server = server();
        let proxied = ArtifactLocation::Proxied { path: vec!["1".to_owned(), "a b".to_owned()] };
        let file = proxied.file(&server, "data/50%?#x");
        let expected =
            "http://127.0.0.1:5000/api/2.0/mlflow-artifacts/artifacts/1/a%20b/data/50%25%3F%23x";
        assert_eq!(file.as_str(), expected);
        let directory = proxied.directory(&server, &["data"]);
        assert_eq!(directory.query(), Some("path=1%2Fa+b%2Fdata"));
        let logged =
            ArtifactLocation::resolve(&server, &version("models:/m-1"), "s3://b/p").unwrap();
        let file = logged.file(&server, "data/x&y");
        let expected = "http://127.0.0.1:5000/model-versions/get-artifact?path=data%2Fx%26y&name=a+model&version=3";
        assert_eq!(file.as_str(), expected);
    }

    proptest! {
        /// Whatever URI a server states, the requested URLs are below its artifacts.
        #[test]
        fn urls_stay_below_the_artifacts(uri in "mlflow-artifacts:/{0,3}[a.%2e/]{0,20}", name in "[a-z%?#]{1,8}") {
            let server = server();
            if let Ok(place) = ArtifactLocation::resolve(&server, &version(""), &uri) {
                let url = place.file(&server, &name);
                prop_assert!(url.path().starts_with("/api/2.0/mlflow-artifacts/artifacts/"), "{}", url);
            }
        }
    }
}
