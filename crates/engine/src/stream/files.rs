//! The files of a run. Each is opened for its first tile and closed after its last, and its identity is
//! checked before and after.

use super::big_endian::SwappedSource;
use super::plan::Plan;
use super::source::{ByteSource, MapSource, ReadError, ReadSource, RemoteSource};
use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::AcqRel};
use std::sync::{Arc, Mutex, PoisonError};
use tensorseal_base::system::open_for_reading;
use tensorseal_format::{FileIdentity, Location, ModelFile, RemoteError};

/// Smaller files are read and not mapped, because mapping them would cost more.
const MAP_FROM: u64 = 1 << 20;

/// A file of the model could not be read completely.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Another process changed or replaced the file.
    #[error("{path} changed while it was being read ({what}); try again when nothing writes to it")]
    Changed {
        /// The path of the file in the model.
        path: String,
        /// How the file changed, as text for people.
        what: Cow<'static, str>,
    },
    /// The operating system or the remote source returned an error.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// The path of the file in the model.
        path: String,
        /// The error.
        source: io::Error,
    },
}

/// The files of a run.
pub struct FileSet<'a> {
    files: &'a [ModelFile],
    states: Vec<FileState>,
}

struct FileState {
    /// The number of objects that are still to be measured.
    remaining: AtomicU64,
    source: Mutex<Option<Arc<dyn ByteSource>>>,
}

impl<'a> FileSet<'a> {
    /// Creates the set of `files`, of which those are opened that `plan` reads from.
    pub fn new(files: &'a [ModelFile], plan: &Plan) -> Self {
        let states: Vec<FileState> = files
            .iter()
            .map(|_| FileState { remaining: AtomicU64::new(0), source: Mutex::new(None) })
            .collect();
        for object in &plan.objects {
            states[object.file].remaining.fetch_add(1, AcqRel);
        }
        Self { files, states }
    }

    /// Returns the bytes of a file, by its index. The file is opened if necessary.
    ///
    /// # Errors
    /// Returns a [`FileError`] if the file cannot be opened, or changed since the model was listed.
    pub fn source(&self, file: usize) -> Result<Arc<dyn ByteSource>, FileError> {
        let mut slot = self.states[file].source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = &*slot {
            return Ok(Arc::clone(source));
        }
        let source = self.open(file)?;
        *slot = Some(Arc::clone(&source));
        Ok(source)
    }

    /// Copies the bytes `offset..offset + len` of a file in the byte order of the file. Returns `None` if
    /// [`FileSet::copy_into`] gives the check_identity bytes, because no byte order is swapped.
    ///
    /// # Errors
    /// Returns a [`FileError`] if the bytes cannot be read, or the file changed.
    pub fn raw_copy(
        &self,
        file: usize,
        offset: u64,
        len: usize,
    ) -> Result<Option<Vec<u8>>, FileError> {
        let source = self.source(file)?;
        let Some(raw) = source.raw() else { return Ok(None) };
        let mut copy = Vec::with_capacity(len);
        raw.read(offset, len, &mut |bytes| copy.extend_from_slice(bytes))
            .map_err(|error| self.name_error(file, error))?;
        Ok(Some(copy))
    }

    /// Replaces `copy` with the bytes `offset..offset + len` of a file. Mapped bytes may change at any time,
    /// so they are read once, and used from this copy.
    ///
    /// # Errors
    /// Returns a [`FileError`] if the bytes cannot be read, or the file changed.
    pub fn copy_into(
        &self,
        file: usize,
        offset: u64,
        len: usize,
        copy: &mut Vec<u8>,
    ) -> Result<(), FileError> {
        copy.clear();
        copy.reserve(len);
        self.source(file)?
            .read(offset, len, &mut |bytes| copy.extend_from_slice(bytes))
            .map_err(|error| self.name_error(file, error))
    }

    fn open(&self, file: usize) -> Result<Arc<dyn ByteSource>, FileError> {
        let entry = &self.files[file];
        let source: Arc<dyn ByteSource> = match &entry.location {
            Location::Path(path) => self.open_local(file, path)?,
            Location::Remote(remote) => Arc::new(RemoteSource::new(Arc::clone(remote))),
        };
        Ok(match entry.big_endian.is_empty() {
            true => source,
            false => Arc::new(SwappedSource::new(source, &entry.big_endian)),
        })
    }

    fn open_local(&self, file: usize, path: &Path) -> Result<Arc<dyn ByteSource>, FileError> {
        let entry = &self.files[file];
        let io_error = |source| FileError::Io { path: entry.path.clone(), source };
        // Does not block: a FIFO that replaced the file must not hang the run.
        let handle = open_for_reading(path).map_err(|error| match error.kind() {
            // The file existed when the model was listed.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                FileError::Changed { path: entry.path.clone(), what: "it is gone".into() }
            }
            _ => io_error(error),
        })?;
        self.compare(file, &handle)?;
        let map = match entry.bytes >= MAP_FROM {
            true => MapSource::new(&handle, entry.bytes),
            false => None,
        };
        Ok(match map {
            Some(map) => Arc::new(map),
            None => Arc::new(ReadSource::new(handle)),
        })
    }

    fn compare(&self, file: usize, handle: &File) -> Result<(), FileError> {
        let entry = &self.files[file];
        let now = handle
            .metadata()
            .map_err(|source| FileError::Io { path: entry.path.clone(), source })?;
        check_identity(entry, &FileIdentity::of(&now))
    }

    /// Records that one object of a file has been measured. After the last object, the identity of the file
    /// is checked again, and the file is closed. Returns whether this was the last object.
    ///
    /// # Errors
    /// Returns [`FileError::Changed`] if the file changed since the model was listed.
    pub fn object_done(&self, file: usize) -> Result<bool, FileError> {
        if self.states[file].remaining.fetch_sub(1, AcqRel) != 1 {
            return Ok(false);
        }
        *self.states[file].source.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let entry = &self.files[file];
        // Every read of a remote file was checked against the listed version.
        let Location::Path(path) = &entry.location else { return Ok(true) };
        // The path is checked, because a replaced file is a change, too.
        match std::fs::metadata(path) {
            Ok(now) => check_identity(entry, &FileIdentity::of(&now)).map(|()| true),
            Err(_) => {
                Err(FileError::Changed { path: entry.path.clone(), what: "it is gone".into() })
            }
        }
    }

    /// Adds the path of the file to an error of its source.
    pub fn name_error(&self, file: usize, error: ReadError) -> FileError {
        let path = self.files[file].path.clone();
        match error {
            ReadError::Shrunk => FileError::Changed { path, what: "it was truncated".into() },
            ReadError::Io(source) => FileError::Io { path, source },
            ReadError::Remote(RemoteError::Changed(what)) => {
                FileError::Changed { path, what: what.into() }
            }
            ReadError::Remote(error) => FileError::Io { path, source: io::Error::other(error) },
        }
    }
}

/// Checks that a file is still the one that was listed.
fn check_identity(entry: &ModelFile, now: &FileIdentity) -> Result<(), FileError> {
    match entry.identity.difference(now) {
        None => Ok(()),
        Some(what) => Err(FileError::Changed { path: entry.path.clone(), what: what.into() }),
    }
}
