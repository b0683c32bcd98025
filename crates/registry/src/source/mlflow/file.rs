//! The files of a version: read by ranges, as long as they are the ones that were opened, or fetched whole.

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

/// What opens files.
pub(super) struct ArtifactOpener<'s> {
    pub server: &'s Arc<MlflowServer>,
    pub windows: &'s Arc<WindowCache>,
    /// Where temporary files go.
    pub spool: &'s Path,
}

impl ArtifactOpener<'_> {
    /// A file, by ranges if the server gives them, else as a whole.
    ///
    /// # Errors
    /// When it is not there, or has another length.
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
        let answer = http.with_retries(1, || async {
            let range = HeaderMap::from_iter([(RANGE, http::range_header(0, 1)?)]);
            let response = self.server.ask(&url, range).await?;
            match response.status() {
                StatusCode::PARTIAL_CONTENT | StatusCode::OK => Ok(response),
                StatusCode::NOT_FOUND => {
                    Err(AttemptError::changed("the server answers that it is not there"))
                }
                status => Err(AttemptError::unavailable(format!("the server answers {status}"))),
            }
        });
        let answer = answer.map_err(at)?;
        if answer.status() == StatusCode::OK {
            let body = ResponseBody::new(answer, listed.bytes, http);
            return self.spooled(Some(body), listed.bytes, &place);
        }
        let pin = ArtifactIdentity::from_headers(answer.headers());
        if pin.length != Some(listed.bytes) {
            return Err(at(RemoteError::Changed("its length".to_owned())));
        }
        let server = Arc::clone(self.server);
        let artifact = RangedArtifact { server, url, place, bytes: listed.bytes, identity: pin };
        Ok(Arc::new(WindowedFile::new(artifact, self.windows)))
    }

    /// A file of so many bytes that is fetched now.
    fn spooled(
        &self,
        body: Option<ResponseBody>,
        bytes: u64,
        place: &str,
    ) -> Result<Arc<dyn RemoteFile>, SourceError> {
        let unreachable = |why: String| SourceError::Unreachable { place: place.to_owned(), why };
        let own = |error: io::Error| unreachable(format!("its temporary file: {error}"));
        let mut spool = Spool::new(self.spool, bytes).map_err(own)?;
        if let Some(body) = body {
            let mut checked = HashingReader::new(body, bytes);
            let stored = io::copy(&mut checked, &mut spool).and_then(|_| spool.flush());
            let flowed = checked.finish().map_err(unreachable)?;
            stored.map_err(own)?;
            if flowed.bytes != bytes || flowed.longer {
                let what = "its length".to_owned();
                return Err(SourceError::Changed { place: place.to_owned(), what });
            }
        }
        let file = spool.into_bytes().file(0, bytes, place.to_owned());
        file.ok_or_else(|| unreachable("its temporary file is too short".to_owned()))
    }
}

/// What stays the same between two answers unless the file was written.
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

/// A file that is read by ranges, as long as it is the one that was opened.
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
        let same =
            |headers: &HeaderMap| match ArtifactIdentity::from_headers(headers) == self.identity {
                true => Ok(()),
                false => Err(RemoteError::Changed("it was written to".to_owned())),
            };
        self.server.http().with_retries(len as u64, || async {
            let range = HeaderMap::from_iter([(RANGE, http::range_header(offset, len)?)]);
            let response = self.server.ask(&self.url, range).await?;
            http::read_range(response, offset, len, &same).await
        })
    }
}
