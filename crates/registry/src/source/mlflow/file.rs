//! Opens the files of a version, which are read by ranges or fetched whole.

use super::super::remote::http;
use super::super::remote::retry::AttemptError;
use super::super::remote::stream::{HashingReader, ResponseBody};
use super::super::remote::{FetchRange, WindowCache, WindowedFile};
use super::super::spool::Spool;
use super::super::{ListedFile, SourceError};
use super::api::MlflowServer;
use reqwest::StatusCode;
use reqwest::header::{ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, RANGE};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use tensorseal_format::{RemoteError, RemoteFile};
use url::Url;

/// Opens the files of versions.
pub(super) struct ArtifactOpener<'s> {
    pub server: &'s Arc<MlflowServer>,
    pub windows: &'s Arc<WindowCache>,
    /// The directory for temporary files.
    pub spool: &'s Path,
}

impl ArtifactOpener<'_> {
    /// Opens a file. It is read by ranges if the server supports them, and otherwise fetched now.
    ///
    /// # Errors
    /// Returns [`SourceError::Changed`] if the file was removed or has another length, and [`SourceError::Unreachable`] if
    /// the server does not response.
    pub(super) fn file(
        &self,
        url: Url,
        listed: &ListedFile,
        place: String,
    ) -> Result<Arc<dyn RemoteFile>, SourceError> {
        let at = |error| SourceError::at(&place, error);
        if listed.bytes == 0 {
            return self.spooled(None, 0, &place);
        }
        let http = self.server.http();
        let response = http.with_retries(1, || async {
            let range = HeaderMap::from_iter([(RANGE, http::range_header(0, 1)?)]);
            let response = self.server.request(&url, range).await?;
            match response.status() {
                StatusCode::PARTIAL_CONTENT | StatusCode::OK => Ok(response),
                StatusCode::NOT_FOUND => {
                    Err(AttemptError::changed("the server returned 404 Not Found"))
                }
                status => Err(AttemptError::unavailable(format!("the server returned {status}"))),
            }
        });
        let response = response.map_err(at)?;
        if response.status() == StatusCode::OK {
            let body = ResponseBody::new(response, listed.bytes, http);
            return self.spooled(Some(body), listed.bytes, &place);
        }
        let identity = ArtifactIdentity::from_headers(response.headers());
        if identity.length != Some(listed.bytes) {
            return Err(at(RemoteError::Changed("its length changed".to_owned())));
        }
        let server = Arc::clone(self.server);
        let artifact = RangedArtifact { server, url, place, bytes: listed.bytes, identity };
        Ok(Arc::new(WindowedFile::new(artifact, self.windows)))
    }

    /// Fetches a file of `bytes` bytes now.
    fn spooled(
        &self,
        body: Option<ResponseBody>,
        bytes: u64,
        place: &str,
    ) -> Result<Arc<dyn RemoteFile>, SourceError> {
        let unreachable =
            |reason: String| SourceError::Unreachable { place: place.to_owned(), reason };
        let spool_error =
            |error: io::Error| unreachable(format!("cannot write the temporary file: {error}"));
        let mut spool = Spool::new(self.spool, bytes).map_err(spool_error)?;
        if let Some(body) = body {
            let mut reader = HashingReader::new(body, bytes);
            let stored = io::copy(&mut reader, &mut spool).and_then(|_| spool.flush());
            let summary = reader.finish().map_err(unreachable)?;
            stored.map_err(spool_error)?;
            if summary.bytes != bytes || summary.longer {
                let what = "its length changed".to_owned();
                return Err(SourceError::Changed { place: place.to_owned(), what });
            }
        }
        let file = spool.into_bytes().file(0, bytes, place.to_owned());
        file.ok_or_else(|| unreachable("the temporary file is too short".to_owned()))
    }
}

/// The values of a response that stay the check unless the file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ArtifactIdentity {
    length: Option<u64>,
    etag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
}

impl ArtifactIdentity {
    fn from_headers(headers: &HeaderMap) -> Self {
        Self {
            length: http::content_range(headers).and_then(|(_, length)| length),
            etag: headers.get(ETAG).cloned(),
            modified: headers.get(LAST_MODIFIED).cloned(),
        }
    }
}

/// A file that is read by ranges and pinned to the identity with which it was opened.
#[derive(Debug)]
struct RangedArtifact {
    server: Arc<MlflowServer>,
    url: Url,
    place: String,
    bytes: u64,
    identity: ArtifactIdentity,
}

impl FetchRange for RangedArtifact {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn fetch(&self, offset: u64, len: usize) -> Result<Vec<u8>, RemoteError> {
        let check =
            |headers: &HeaderMap| match ArtifactIdentity::from_headers(headers) == self.identity {
                true => Ok(()),
                false => Err(RemoteError::Changed("the file was written".to_owned())),
            };
        self.server.http().with_retries(len as u64, || async {
            let range = HeaderMap::from_iter([(RANGE, http::range_header(offset, len)?)]);
            let response = self.server.request(&self.url, range).await?;
            http::read_range(response, offset, len, &check).await
        })
    }
}
