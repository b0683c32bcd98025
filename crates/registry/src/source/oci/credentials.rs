//! Reads the credentials of registries from Docker's `config.json` in `$DOCKER_CONFIG` or `~/.docker`.
//!
//! Credential helpers are programs and are not executed, so their credentials are not available.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The credentials of an account.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) enum Credentials {
    /// There are no credentials.
    #[default]
    None,
    /// The credentials are in the credential helper with this name.
    Helper(String),
    /// A user name and a password.
    Password { user: String, password: Zeroizing<String> },
    /// A refresh token (OAuth 2), which is exchanged for a bearer token.
    Identity(Zeroizing<String>),
    /// A bearer token.
    Bearer(Zeroizing<String>),
}

/// Shows the kind of credentials without secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Helper(_) => "Helper",
            Self::Password { .. } => "Password",
            Self::Identity(_) => "Identity",
            Self::Bearer(_) => "Bearer",
        })
    }
}

/// The supported members of `config.json`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

/// An account in `config.json`.
#[derive(Deserialize, ZeroizeOnDrop)]
struct DockerAuth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

/// An error in `config.json`. The messages contain nothing of the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum CredentialsError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The file is malformed.
    #[error("{}: not a valid Docker configuration: {reason}", path.display())]
    Malformed { path: PathBuf, reason: &'static str },
}

impl Credentials {
    /// Returns the credentials for an account, `host[:port]`.
    ///
    /// # Errors
    /// Returns a [`CredentialsError`] if the file exists and cannot be read.
    pub(super) fn for_account(account: &str) -> Result<Self, CredentialsError> {
        let directory = match std::env::var_os("DOCKER_CONFIG") {
            Some(directory) if !directory.is_empty() => Some(PathBuf::from(directory)),
            _ => std::env::home_dir().map(|home| home.join(".docker")),
        };
        match directory {
            Some(directory) => Self::in_file(&directory.join("config.json"), account),
            None => Ok(Self::None),
        }
    }

    /// Returns the credentials in a file; [`Credentials::None`] if it does not exist.
    fn in_file(path: &Path, account: &str) -> Result<Self, CredentialsError> {
        let failed = |source| CredentialsError::Io { path: path.to_owned(), source };
        let mut text = Zeroizing::new(Vec::new());
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::None),
            Err(error) => return Err(failed(error)),
            Ok(file) => file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(failed)?,
        };
        Self::in_text(&text, account)
            .map_err(|why| CredentialsError::Malformed { path: path.to_owned(), reason: why })
    }

    fn in_text(text: &[u8], account: &str) -> Result<Self, &'static str> {
        if text.len() as u64 > MAX_BYTES {
            return Err("the file is too long");
        }
        // The message of the parser could quote a password.
        let config: DockerConfig =
            serde_json::from_slice(text).map_err(|_| "it is no JSON of its form")?;
        // A helper of a registry goes before what is filed for it, as with Docker.
        let helper = config.cred_helpers.iter().find(|(key, _)| host(key) == account);
        if let Some((_, helper)) = helper {
            return Ok(Self::Helper(helper.clone()));
        }
        let mut accounts = config.auths.iter().filter(|(key, _)| host(key) == account);
        let known = accounts.find_map(|(_, known)| known.credentials().transpose()).transpose()?;
        Ok(match (known, config.creds_store) {
            (Some(known), _) => known,
            (None, Some(store)) if !store.is_empty() => Self::Helper(store),
            _ => Self::None,
        })
    }
}

impl DockerAuth {
    fn credentials(&self) -> Result<Option<Credentials>, &'static str> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credentials::Bearer(Zeroizing::new(self.registrytoken.clone()))));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::Identity(Zeroizing::new(self.identitytoken.clone()))));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let malformed = "the credentials of an account are not user:password in base64";
        let decoded = STANDARD.decode(self.auth.as_bytes()).map_err(|_| malformed)?;
        let decoded = Zeroizing::new(String::from_utf8(decoded).map_err(|_| malformed)?);
        let (user, password) = decoded.split_once(':').ok_or(malformed)?;
        let password = Zeroizing::new(password.trim_end_matches('\0').to_owned());
        Ok(Some(Credentials::Password { user: user.to_owned(), password }))
    }
}

/// Returns the host of a key, which may be a URL such as `https://index.docker.io/v1/`.
fn host(key: &str) -> &str {
    let key = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key);
    key.split_once('/').map_or(key, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, account: &str) -> Credentials {
        Credentials::in_text(text.as_bytes(), account).unwrap()
    }

    #[test]
    fn accounts_of_a_configuration() {
        let text = r#"{
            "auths": {
                "https://index.docker.io/v1/": {"auth": "bWU6czpjcmV0"},
                "127.0.0.1:5000": {"auth": "", "identitytoken": "refresh"},
                "ghcr.io": {"registrytoken": "bearer"},
                "stored.example": {}
            },
            "credsStore": "desktop",
            "credHelpers": {"gcr.io": "gcloud"},
            "psFormat": "table"
        }"#;
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        let password = Credentials::Password { user: "me".to_owned(), password: secret("s:cret") };
        assert_eq!(of(text, "index.docker.io"), password);
        assert_eq!(of(text, "127.0.0.1:5000"), Credentials::Identity(secret("refresh")));
        assert_eq!(of(text, "ghcr.io"), Credentials::Bearer(secret("bearer")));
        assert_eq!(of(text, "gcr.io"), Credentials::Helper("gcloud".to_owned()));
        assert_eq!(of(text, "stored.example"), Credentials::Helper("desktop".to_owned()));
        assert_eq!(of("{}", "ghcr.io"), Credentials::None);
        assert!(!format!("{password:?}").contains("cret"));
    }

    #[test]
    fn errors_in_a_configuration_contain_no_secrets() {
        for text in [
            "",
            "[]",
            r#"{"auths": {"x": {"auth": "czNjcmV0"}}}"#,
            r#"{"auths": {"x": {"auth": "s3cret"}}}"#,
        ] {
            let error = Credentials::in_text(text.as_bytes(), "x").unwrap_err();
            assert!(!error.contains("cret"), "{error}");
        }
        let long = vec![b' '; MAX_BYTES as usize + 1];
        assert_eq!(Credentials::in_text(&long, "x"), Err("the file is too long"));
    }

    #[test]
    fn a_missing_file_has_no_credentials() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        assert_eq!(Credentials::in_file(&path, "x").unwrap(), Credentials::None);
        std::fs::write(&path, r#"{"auths": {"x": {"auth": "YTpi"}}}"#).unwrap();
        assert!(matches!(Credentials::in_file(&path, "x").unwrap(), Credentials::Password { .. }));
        assert!(matches!(
            Credentials::in_file(directory.path(), "x"),
            Err(CredentialsError::Io { .. })
        ));
    }
}
