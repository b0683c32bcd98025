//! The files of a run: opened when their first tile is due, closed after their last, and checked
//! before and after to be the same file with the same bytes.

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

/// Smaller files are read, not mapped: a mapping costs more than its bytes.
const MAP_FROM: u64 = 1 << 20;

/// A file of the model could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another process changed or replaced it.
    #[error(
        "{path} changed while it was being read ({what}): nothing can be said of it; try again when it is at rest"
    )]
    Changed {
        /// Path in the model.
        path: String,
        /// What was seen.
        what: Cow<'static, str>,
    },
    /// The operating system, or another machine, said no.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// Path in the model.
        path: String,
        /// Its error.
        source: io::Error,
    },
}

/// See the module.
pub struct FileSet<'a> {
    files: &'a [ModelFile],
    states: Vec<FileState>,
}

struct FileState {
    /// Bytes and objects (an object may be empty) that are still to be measured.
    left: AtomicU64,
    source: Mutex<Option<Arc<dyn ByteSource>>>,
}

impl<'a> FileSet<'a> {
    /// The files that `plan` reads from.
    pub fn new(files: &'a [ModelFile], plan: &Plan) -> Self {
        let states: Vec<FileState> = files
            .iter()
            .map(|_| FileState { left: AtomicU64::new(0), source: Mutex::new(None) })
            .collect();
        for object in &plan.objects {
            states[object.file].left.fetch_add(1, AcqRel);
        }
        Self { files, states }
    }

    /// The bytes of a file, opened now if need be.
    ///
    /// # Errors
    /// When it cannot be opened or is no longer what it was when the model was listed.
    pub fn source(&self, file: usize) -> Result<Arc<dyn ByteSource>, FileError> {
        let mut slot = self.states[file].source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = &*slot {
            return Ok(Arc::clone(source));
        }
        let source = self.open(file)?;
        *slot = Some(Arc::clone(&source));
        Ok(source)
    }

    /// The bytes `offset..offset + len` as they are in the file, where [`FileSet::copy_into`] gives others
    /// because of their byte order.
    ///
    /// # Errors
    /// When they cannot be read, or changed.
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

    /// Makes `copy` the bytes `offset..offset + len` of a file. What comes from a map may change at any
    /// time, so it is read once and worked on here.
    ///
    /// # Errors
    /// When it cannot be read, or changed.
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
        // Non-blocking: a FIFO that was put in the file's place must not hang the run.
        let handle = open_for_reading(path).map_err(|error| match error.kind() {
            // It was there when the model was listed.
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
        same(entry, &FileIdentity::of(&now))
    }

    /// One object of a file has been measured. After the last the file is compared with what it was
    /// before, and closed. Whether it was the last.
    ///
    /// # Errors
    /// When it changed in the meantime.
    pub fn object_done(&self, file: usize) -> Result<bool, FileError> {
        if self.states[file].left.fetch_sub(1, AcqRel) != 1 {
            return Ok(false);
        }
        *self.states[file].source.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let entry = &self.files[file];
        // Each read of a file of another machine was of what was listed.
        let Location::Path(path) = &entry.location else { return Ok(true) };
        // By its path: a file that was replaced by another is a change, too.
        match std::fs::metadata(path) {
            Ok(now) => same(entry, &FileIdentity::of(&now)).map(|()| true),
            Err(_) => {
                Err(FileError::Changed { path: entry.path.clone(), what: "it is gone".into() })
            }
        }
    }

    /// Names the file in an error of its source.
    pub fn name_error(&self, file: usize, error: ReadError) -> FileError {
        let path = self.files[file].path.clone();
        match error {
            ReadError::Shrunk => FileError::Changed { path, what: "it became shorter".into() },
            ReadError::Io(source) => FileError::Io { path, source },
            ReadError::Remote(RemoteError::Changed(what)) => {
                FileError::Changed { path, what: what.into() }
            }
            ReadError::Remote(error) => FileError::Io { path, source: io::Error::other(error) },
        }
    }
}

/// Whether a file is the one that was opened.
fn same(entry: &ModelFile, now: &FileIdentity) -> Result<(), FileError> {
    match entry.identity.difference(now) {
        None => Ok(()),
        Some(what) => Err(FileError::Changed { path: entry.path.clone(), what: what.into() }),
    }
}
