//! One object, read by ranges and pinned to what was listed.

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

/// Objects whose checksums are asked for at once.
const AT_ONCE: usize = 8;

/// What tells one version of an object from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ObjectIdentity {
    etag: Option<String>,
    version: Option<String>,
    /// Seconds since 1970: headers have no more.
    modified: Option<i64>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct BucketObject {
    store: Arc<dyn Store>,
    key: Path,
    place: String,
    bytes: u64,
    listed: ObjectIdentity,
    /// Of the first answer: some stores give no entity tags in lists, and some look at no condition.
    first: OnceLock<ObjectIdentity>,
    runtime: NetworkRuntime,
    limits: RequestLimits,
}

impl BucketObject {
    /// The object of a file as it was listed.
    pub(super) fn new(
        store: Arc<dyn Store>,
        key: Path,
        place: String,
        file: &ListedFile,
        (waiting, limits): (NetworkRuntime, RequestLimits),
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
        BucketObject { store, key, place, bytes, listed, first, runtime: waiting, limits }
    }

    /// Where it is, for messages.
    pub(super) fn location(&self) -> &str {
        &self.place
    }

    /// The checksum that the store keeps of it, if it has one and tells it.
    ///
    /// # Errors
    /// When the object is no longer what was listed, or the store cannot be asked.
    pub(super) fn checksum(&self) -> Result<Option<[u8; 32]>, RemoteError> {
        with_retries(&self.runtime, &self.limits, 0, || self.head())
    }

    async fn head(&self) -> Result<Option<[u8; 32]>, AttemptError> {
        match self.ask(GetOptions::new().with_head(true)).await {
            Ok((_, seen)) => Ok(seen.response().checksum),
            // A store that refuses this tells no checksum; whether it gives the bytes is seen when they are read.
            Err(AttemptError::Permanent(RemoteError::Unavailable(_))) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn range(&self, offset: u64, len: usize) -> Result<Vec<u8>, AttemptError> {
        let range = GetRange::Bounded(offset..offset + len as u64);
        let (answer, _) = self.ask(GetOptions::new().with_range(Some(range))).await?;
        body(answer, len).await
    }

    /// The answer to a request for the object that was listed, and for no other.
    async fn ask(&self, what: GetOptions) -> Result<(GetResult, ResponseRecorder), AttemptError> {
        let seen = ResponseRecorder::default();
        let first = self.first.get();
        let etag = self.listed.etag.as_ref().or(first.and_then(|first| first.etag.as_ref()));
        let mut options = GetOptions {
            if_match: etag.map(|etag| condition(etag)),
            version: self.listed.version.clone(),
            ..what
        };
        options.extensions.insert(seen.clone());
        let answer = self.store.get_opts(&self.key, options).await;
        let answer = answer.map_err(|error| match (&error, seen.response().status) {
            (Error::NotFound { .. }, _) => AttemptError::changed("it is gone"),
            (Error::Precondition { .. }, _) => AttemptError::changed("it has another entity tag"),
            (_, Some(416)) => AttemptError::changed("it became shorter"),
            _ => attempt_error(&error, &seen),
        })?;
        self.compare(&answer.meta)?;
        Ok((answer, seen))
    }

    /// Holds what a store says of an object against what it said before: it may have looked at no
    /// condition.
    fn compare(&self, now: &ObjectMeta) -> Result<(), RemoteError> {
        let changed = |what: &str| Err(RemoteError::Changed(what.to_owned()));
        if now.size != self.bytes {
            let what = format!("it has {} bytes instead of {}", now.size, self.bytes);
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
                    return changed("it has another entity tag");
                }
                (Some(_), Some(_)) => {}
                // Without tags, times are all there is.
                _ if before.modified.is_some_and(|before| Some(before) != now.modified) => {
                    return changed("it was written again");
                }
                _ => {}
            }
        }
        match first.version == now.version {
            true => Ok(()),
            false => changed("it has another version"),
        }
    }
}

/// The bytes of an answer: as many as were asked for, no fewer and no more.
async fn body(answer: GetResult, len: usize) -> Result<Vec<u8>, AttemptError> {
    let mut pieces = answer.into_stream();
    let mut bytes = Vec::with_capacity(len);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            AttemptError::transient(format!("the connection broke: {}", retry::root_cause(&error)))
        })?;
        if bytes.len() + piece.len() > len {
            return Err(AttemptError::unavailable("more bytes came than were asked for"));
        }
        bytes.extend_from_slice(&piece);
    }
    match bytes.len() {
        got if got == len => Ok(bytes),
        got => Err(AttemptError::transient(format!("{got} bytes came instead of {len}"))),
    }
}

/// An entity tag without what may stand around it: lists of Azure have no quotation marks, and a server
/// between may weaken a tag (RFC 9110 section 8.8.3).
fn tag(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// The same as a condition.
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

/// What the store claims of each of some objects: one request for each.
///
/// # Errors
/// When an object is no longer what was listed, or the store cannot be asked.
pub(super) fn listed_digests(
    objects: &[BucketObject],
) -> Result<Vec<Option<ListedDigest>>, SourceError> {
    let mut claims = Vec::with_capacity(objects.len());
    for some in objects.chunks(AT_ONCE) {
        let answers: Vec<_> = thread::scope(|scope| {
            let asked: Vec<_> =
                some.iter().map(|object| scope.spawn(|| object.checksum())).collect();
            asked
                .into_iter()
                .map(|asked| asked.join().unwrap_or_else(|p| resume_unwind(p)))
                .collect()
        });
        for (object, answer) in some.iter().zip(answers) {
            let answer = answer.map_err(|error| SourceError::at(object.location(), error))?;
            claims.push(answer.map(checksum::listed_digest));
        }
    }
    Ok(claims)
}
