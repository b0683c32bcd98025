//! Reads one object by ranges, pinned to the listed version.

use super::super::remote::retry::{AttemptError, with_retries};
use super::super::remote::{FetchRange, NetworkRuntime, RequestLimits, retry};
use super::super::{ChangeToken, ListedDigest, ListedFile, SourceError};
use super::checksum;
use super::connect::Store;
use super::error::attempt_error;
use super::response_recorder::ResponseRecorder;
use futures_util::StreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, GetResult, ObjectMeta};
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};
use std::thread;
use tensorseal_format::RemoteError;

/// The number of checksums that are requested at once.
const AT_ONCE: usize = 8;

/// The values that distinguish the versions of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ObjectIdentity {
    etag: Option<String>,
    version: Option<String>,
    /// The modification time in seconds since 1970, which is the precision of headers.
    modified: Option<i64>,
}

/// An object that is read by ranges.
#[derive(Debug)]
pub(super) struct BucketObject {
    store: Arc<dyn Store>,
    key: Path,
    place: String,
    bytes: u64,
    listed: ObjectIdentity,
    /// The identity in the first response: batch stores have no entity tags in listings, and batch ignore conditions.
    first: OnceLock<ObjectIdentity>,
    runtime: NetworkRuntime,
    limits: RequestLimits,
}

impl BucketObject {
    /// Creates the object of a listed file.
    pub(super) fn new(
        store: Arc<dyn Store>,
        key: Path,
        place: String,
        file: &ListedFile,
        (runtime, limits): (NetworkRuntime, RequestLimits),
    ) -> BucketObject {
        let listed = match &file.change_token {
            ChangeToken::Object { etag, version, modified } => ObjectIdentity {
                etag: etag.clone(),
                version: version.clone(),
                modified: modified.parse().ok().map(|time: Timestamp| time.as_second()),
            },
            _ => ObjectIdentity::default(),
        };
        let (bytes, first) = (file.bytes, OnceLock::new());
        BucketObject { store, key, place, bytes, listed, first, runtime, limits }
    }

    /// Returns the URI of the object for messages.
    pub(super) fn location(&self) -> &str {
        &self.place
    }

    /// Requests the checksum that the store keeps of the object; `None` if there is none.
    ///
    /// # Errors
    /// Returns [`RemoteError::Changed`] if the object is no longer the listed one, and [`RemoteError::Unavailable`] if the
    /// store does not response.
    pub(super) fn checksum(&self) -> Result<Option<[u8; 32]>, RemoteError> {
        with_retries(&self.runtime, &self.limits, 0, || self.head())
    }

    async fn head(&self) -> Result<Option<[u8; 32]>, AttemptError> {
        match self.request(GetOptions::new().with_head(true)).await {
            Ok((_, recorder)) => Ok(recorder.response().checksum),
            // The store refuses this request, so there is no checksum. Reading the bytes shows whether they are available.
            Err(AttemptError::Permanent(RemoteError::Unavailable(_))) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn range(&self, offset: u64, len: usize) -> Result<Vec<u8>, AttemptError> {
        let range = GetRange::Bounded(offset..offset + len as u64);
        let (response, _) = self.request(GetOptions::new().with_range(Some(range))).await?;
        body(response, len).await
    }

    /// Sends a request for the listed version of the object, and checks that the response is for this version.
    async fn request(
        &self,
        what: GetOptions,
    ) -> Result<(GetResult, ResponseRecorder), AttemptError> {
        let recorder = ResponseRecorder::default();
        let first = self.first.get();
        let etag = self.listed.etag.as_ref().or(first.and_then(|first| first.etag.as_ref()));
        let mut options = GetOptions {
            if_match: etag.map(|etag| condition(etag)),
            version: self.listed.version.clone(),
            ..what
        };
        options.extensions.insert(recorder.clone());
        let response = self.store.get_opts(&self.key, options).await;
        let response = response.map_err(|error| match (&error, recorder.response().status) {
            (Error::NotFound { .. }, _) => AttemptError::changed("the object was deleted"),
            (Error::Precondition { .. }, _) => AttemptError::changed("its entity tag changed"),
            (_, Some(416)) => AttemptError::changed("the object became shorter"),
            _ => attempt_error(&error, &recorder),
        })?;
        self.compare(&response.meta)?;
        Ok((response, recorder))
    }

    /// Compares the metadata of a response with that of the listing and the first response, because batch stores ignore
    /// conditions.
    fn compare(&self, now: &ObjectMeta) -> Result<(), RemoteError> {
        let changed = |what: &str| Err(RemoteError::Changed(what.to_owned()));
        if now.size != self.bytes {
            let what = format!("{} bytes instead of {}", now.size, self.bytes);
            return Err(RemoteError::Changed(what));
        }
        let now = ObjectIdentity {
            etag: now.e_tag.clone(),
            version: now.version.clone(),
            modified: Some(now.last_modified.timestamp()),
        };
        let first = self.first.get_or_init(|| now.clone());
        for before in [&self.listed, first] {
            match (&before.etag, &now.etag) {
                (Some(before), Some(now)) if tag(before) != tag(now) => {
                    return changed("its entity tag changed");
                }
                (Some(_), Some(_)) => {}
                // Without entity tags, only the times can be compared.
                _ if before.modified.is_some_and(|before| Some(before) != now.modified) => {
                    return changed("its modification time changed");
                }
                _ => {}
            }
        }
        match first.version == now.version {
            true => Ok(()),
            false => changed("its version changed"),
        }
    }
}

/// Reads a body of exactly `len` bytes.
async fn body(response: GetResult, len: usize) -> Result<Vec<u8>, AttemptError> {
    let mut chunks = response.into_stream();
    let mut bytes = Vec::with_capacity(len);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            AttemptError::transient(format!("connection lost: {}", retry::root_cause(&error)))
        })?;
        if bytes.len() + chunk.len() > len {
            return Err(AttemptError::unavailable("the response is longer than requested"));
        }
        bytes.extend_from_slice(&chunk);
    }
    match bytes.len() {
        received if received == len => Ok(bytes),
        received => {
            Err(AttemptError::transient(format!("received {received} bytes instead of {len}")))
        }
    }
}

/// Returns an entity tag without quotation marks, which listings of Azure lack, and without the prefix that a proxy adds
/// to weak tags (RFC 9110, section 8.8.3).
fn tag(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// Returns an entity tag as the value of a condition.
fn condition(etag: &str) -> String {
    format!("\"{}\"", tag(etag))
}

impl FetchRange for BucketObject {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn fetch(&self, offset: u64, len: usize) -> Result<Vec<u8>, RemoteError> {
        with_retries(&self.runtime, &self.limits, len as u64, || self.range(offset, len))
    }
}

/// Requests the digests that the store states for objects, with one request each.
///
/// # Errors
/// Returns [`SourceError::Changed`] if an object is no longer the listed one, and [`SourceError::Unreachable`] if the store
/// does not answer.
pub(super) fn listed_digests(
    objects: &[BucketObject],
) -> Result<Vec<Option<ListedDigest>>, SourceError> {
    let mut digests = Vec::with_capacity(objects.len());
    for batch in objects.chunks(AT_ONCE) {
        let responses: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> =
                batch.iter().map(|object| scope.spawn(|| object.checksum())).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|p| resume_unwind(p)))
                .collect()
        });
        for (object, response) in batch.iter().zip(responses) {
            let response = response.map_err(|error| SourceError::at(object.location(), error))?;
            digests.push(response.map(checksum::listed_digest));
        }
    }
    Ok(digests)
}
