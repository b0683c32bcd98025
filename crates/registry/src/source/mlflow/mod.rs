//! MLflow servers as sources: versions of registered models.
//!
//! MLflow has neither digests nor change tokens, and the files of a registered version can be overwritten in place.
//! Therefore each version is a separate model, `NAME/versions/NUMBER`, and is read in every scan.

mod api;
mod artifacts;
mod file;

use super::endpoint::Endpoint;
use super::remote::http::Http;
use super::remote::{RequestLimits, WindowCache};
use super::{
    ChangeToken, ListedFile, ListedModel, OpenedModel, Source, SourceError, find_seal, local,
};
use api::{MlflowServer, Version};
use artifacts::ArtifactLocation;
use file::ArtifactOpener;
use percent_encoding::percent_decode_str;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorseal_base::display::quoted;
use tensorseal_format::{Checkpoint, RemoteError};

/// The largest number of versions that are listed.
const MAX_VERSIONS: usize = 1_000_000;

/// The separator between the name of a model and the number of its version.
const VERSIONS: &str = "/versions/";

/// The registered models of an MLflow server as a source.
#[derive(Debug)]
pub struct MlflowSource {
    server: Arc<MlflowServer>,
    name: String,
    model: Option<String>,
    version: Option<String>,
    windows: Arc<WindowCache>,
    spool: PathBuf,
}

/// Opens `mlflow://host[:port][/MODEL[/VERSION]]`: all registered models, one of them, or one version. Plain HTTP is used
/// for loopback addresses, and for `mlflow+http://`. Credentials are `MLFLOW_TRACKING_USERNAME` and
/// `MLFLOW_TRACKING_PASSWORD`, or `MLFLOW_TRACKING_TOKEN`. Files that cannot be read by ranges are fetched to temporary
/// files in `spool`. No request is sent.
///
/// # Errors
/// Returns [`SourceError::Invalid`] if the URI or the credentials are not valid.
pub fn open(uri: &str, spool: &Path) -> Result<Box<dyn Source>, SourceError> {
    Ok(Box::new(MlflowSource::open(uri, spool, RequestLimits::default())?))
}

impl MlflowSource {
    /// Opens a source as [`open`] does, with these limits.
    ///
    /// # Errors
    /// Returns the errors of [`open`].
    pub fn open(uri: &str, spool: &Path, limits: RequestLimits) -> Result<Self, SourceError> {
        let endpoint = Endpoint::parse(uri, "mlflow")?;
        let name = match endpoint.path.as_str() {
            "" => endpoint.name.clone(),
            path => format!("{}/{path}", endpoint.name),
        };
        let invalid =
            |why: &str| SourceError::Invalid { source_name: name.clone(), reason: why.to_owned() };
        let expected = "expected mlflow://host[:port][/MODEL[/VERSION]]";
        let decode = |part: &str| match percent_decode_str(part).decode_utf8() {
            Ok(part) if !part.is_empty() => Ok(part.into_owned()),
            _ => Err(invalid(expected)),
        };
        let (model, version) = match endpoint.path.split_once('/') {
            None if endpoint.path.is_empty() => (None, None),
            None => (Some(decode(&endpoint.path)?), None),
            Some((model, version)) => (Some(decode(model)?), Some(decode(version)?)),
        };
        if version.as_deref().is_some_and(|version| !is_number(version)) {
            return Err(invalid(expected));
        }
        if model.as_deref().is_some_and(|model| model.contains('\'') && model.contains('"')) {
            return Err(invalid(
                "MLflow cannot search for a name with both kinds of quotation marks",
            ));
        }
        let http = Http::new(limits).map_err(|error| SourceError::at(&name, error))?;
        let server = Arc::new(MlflowServer::new(http, endpoint).map_err(invalid)?);
        let windows = Arc::new(WindowCache::with_runtime(server.http().runtime()));
        Ok(Self { server, name, model, version, windows, spool: spool.to_owned() })
    }

    fn listed(&self, version: &Version) -> ListedModel {
        let name = format!("{}{VERSIONS}{}", version.name, version.version);
        let mut listed =
            ListedModel { name, version: Some(version.version.clone()), ..ListedModel::default() };
        if let Some(status) = version.status.as_deref().filter(|status| *status != "READY") {
            listed.incomplete.push(format!("the status of the version is {}", quoted(status)));
        }
        match self
            .place(version)
            .and_then(|place| place.files(&self.server).map_err(|error| error.to_string()))
        {
            Ok(found) => {
                listed.files = found
                    .files
                    .into_iter()
                    .map(|file| ListedFile {
                        path: file.path,
                        bytes: file.bytes,
                        change_token: ChangeToken::None,
                        digests: Vec::new(),
                    })
                    .collect();
                listed.incomplete.extend(found.problems);
                listed.detect_signatures();
            }
            Err(why) => listed.unreadable = Some(why),
        }
        listed
    }

    /// Returns the location of the files of a version, or a message.
    fn place(&self, version: &Version) -> Result<ArtifactLocation, String> {
        let uri = self.server.download_uri(&version.name, &version.version);
        ArtifactLocation::resolve(&self.server, version, &uri.map_err(|error| error.to_string())?)
    }
}

impl Source for MlflowSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(
        &self,
        each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        let at = |error| SourceError::at(&self.name, error);
        if let (Some(model), Some(version)) = (&self.model, &self.version) {
            let found = self.server.version(model, version).map_err(at)?;
            if (&found.name, &found.version) != (model, version) {
                return Err(at(RemoteError::Unavailable(
                    "the server returned another version".to_owned(),
                )));
            }
            let _ = each(self.listed(&found));
            return Ok(());
        }
        let mut token: Option<String> = None;
        let mut seen = 0;
        loop {
            let page = self.server.versions(self.model.as_deref(), token.as_deref()).map_err(at)?;
            seen += page.model_versions.len();
            let next = page.next_page_token.filter(|next| !next.is_empty());
            let stuck = next.is_some() && (next == token || page.model_versions.is_empty());
            if stuck || seen > MAX_VERSIONS {
                let why = format!("the list of versions does not end after {seen} entries");
                return Err(at(RemoteError::Unavailable(why)));
            }
            // Versions of other models are not part of this source.
            let is_requested = |version: &&Version| {
                is_number(&version.version)
                    && self.model.as_ref().is_none_or(|model| *model == version.name)
            };
            for version in page.model_versions.iter().filter(is_requested) {
                if each(self.listed(version)).is_break() {
                    return Ok(());
                }
            }
            match next {
                Some(next) => token = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn open(&self, listed: &ListedModel) -> Result<OpenedModel, SourceError> {
        let model = format!("{}/{}", self.server.endpoint().name, listed.name);
        let at = |error| SourceError::at(&model, error);
        let unlisted =
            || at(RemoteError::Unavailable("not the name of a model version".to_owned()));
        let (name, number) = listed.name.rsplit_once(VERSIONS).ok_or_else(unlisted)?;
        let version = self.server.version(name, number).map_err(at)?;
        let place = self.place(&version).map_err(|why| at(RemoteError::Unavailable(why)))?;
        let opener =
            ArtifactOpener { server: &self.server, windows: &self.windows, spool: &self.spool };
        let files = listed.files.iter().map(|file| {
            let shown = format!("{model} {}", quoted(&file.path));
            let opened = opener.file(place.file(&self.server, &file.path), file, shown)?;
            Ok((file.path.clone(), opened))
        });
        let files = files.collect::<Result<Vec<_>, SourceError>>()?;
        let seal = find_seal(&files);
        let checkpoint = Checkpoint::open_remote(&model, files, &local::options())?;
        Ok(OpenedModel::with_files(checkpoint, Vec::new(), listed.files.clone()).with_seal(seal))
    }

    /// Compares paths and lengths, because MLflow has no change tokens.
    fn ensure_unchanged(&self, listed: &ListedModel) -> Result<(), SourceError> {
        let model = format!("{}/{}", self.server.endpoint().name, listed.name);
        let at = |error| SourceError::at(&model, error);
        let unlisted =
            || at(RemoteError::Unavailable("not the name of a model version".to_owned()));
        let (name, number) = listed.name.rsplit_once(VERSIONS).ok_or_else(unlisted)?;
        let now = self.listed(&self.server.version(name, number).map_err(at)?);
        match now.unreadable {
            Some(why) => Err(at(RemoteError::Unavailable(why))),
            None => listed.ensure_unchanged(&now),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        let open = |uri: &str| MlflowSource::open(uri, Path::new("."), RequestLimits::default());
        for (uri, model, version) in [
            ("mlflow://127.0.0.1:5000", None, None),
            ("mlflow://127.0.0.1:5000/", None, None),
            ("mlflow://127.0.0.1:5000/a%20model", Some("a model"), None),
            ("mlflow+https://host/a/12", Some("a"), Some("12")),
        ] {
            let source = open(uri).unwrap();
            assert_eq!(
                (source.model.as_deref(), source.version.as_deref()),
                (model, version),
                "{uri}"
            );
            assert_eq!(source.name(), uri.trim_end_matches('/'));
        }
        for uri in [
            "mlflow://h/a/b",
            "mlflow://h/a/1/2",
            "mlflow://h/a//1",
            "mlflow://h/%ff",
            "mlflow://h/'\"",
        ] {
            assert!(open(uri).is_err(), "{uri}");
        }
    }
}
