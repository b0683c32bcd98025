//! Files on other machines that are read by ranges.

use std::fmt::Debug;
use std::io::{self, Read};

/// A file of a model on another machine, pinned to the listed version.
pub trait RemoteFile: Debug + Send + Sync {
    /// The location of the file for messages, without credentials.
    fn place(&self) -> String;

    /// The listed length in bytes.
    fn bytes(&self) -> u64;

    /// Fills `buffer` with the bytes of the listed version from `offset` on. The caller keeps the range within
    /// [`RemoteFile::bytes`].
    ///
    /// # Errors
    /// Returns a [`RemoteError`] if the file has changed, or if it is unavailable after all retries.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), RemoteError>;

    /// Hints that these bytes will be read soon.
    fn read_ahead(&self, _offset: u64, _len: usize) {}
}

/// The reason why a remote file could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RemoteError {
    /// The file is no longer the listed version.
    #[error("the file has changed: {0}")]
    Changed(String),
    /// The file is unavailable.
    #[error("{0}")]
    Unavailable(String),
}

impl RemoteError {
    /// Returns the remote error that caused an I/O error, if any.
    pub fn from_io_error(error: &io::Error) -> Option<&RemoteError> {
        error.get_ref()?.downcast_ref()
    }
}

/// Reads a remote file from start to end.
#[derive(Debug)]
pub struct SequentialReader<'f> {
    file: &'f dyn RemoteFile,
    at: u64,
    ahead: bool,
}

impl<'f> SequentialReader<'f> {
    /// Reads from the first byte on. Each read is one request, so wrap it in a buffer.
    pub fn new(file: &'f dyn RemoteFile) -> Self {
        Self { file, at: 0, ahead: false }
    }

    /// Like [`SequentialReader::new`], with read-ahead, for a file that will be read to the end.
    pub fn with_read_ahead(file: &'f dyn RemoteFile) -> Self {
        Self { ahead: true, ..Self::new(file) }
    }
}

impl Read for SequentialReader<'_> {
    /// Reads the next bytes. An error wraps the [`RemoteError`]: see [`RemoteError::from_io_error`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.file.bytes().saturating_sub(self.at);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if len > 0 {
            self.file.read_at(self.at, &mut buffer[..len]).map_err(io::Error::other)?;
            self.at += len as u64;
            if self.ahead {
                let rest = usize::try_from(left - len as u64).unwrap_or(usize::MAX);
                self.file.read_ahead(self.at, rest);
            }
        }
        Ok(len)
    }
}
