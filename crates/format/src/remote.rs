//! Files that lie elsewhere and are read by ranges.

use std::fmt::Debug;
use std::io::{self, Read};

/// A file of a model on another machine, pinned to the version that was listed.
pub trait RemoteFile: Debug + Send + Sync {
    /// Where it is, for messages, without credentials.
    fn place(&self) -> String;

    /// Its length in bytes, as it was listed.
    fn bytes(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on, of the version that was listed. What is asked for
    /// lies within [`RemoteFile::bytes`].
    ///
    /// # Errors
    /// [`RemoteError`], after as many attempts as are worth it.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), RemoteError>;

    /// These bytes will be asked for soon: a hint.
    fn read_ahead(&self, _offset: u64, _len: usize) {}
}

/// Why bytes of a remote file could not be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RemoteError {
    /// It is no longer what was listed.
    #[error("it changed: {0}")]
    Changed(String),
    /// It cannot be had.
    #[error("{0}")]
    Unavailable(String),
}

impl RemoteError {
    /// The one that an error of reading came from.
    pub fn from_io_error(error: &io::Error) -> Option<&RemoteError> {
        error.get_ref()?.downcast_ref()
    }
}

/// The bytes of a remote file, in order.
#[derive(Debug)]
pub struct SequentialReader<'f> {
    file: &'f dyn RemoteFile,
    at: u64,
    ahead: bool,
}

impl<'f> SequentialReader<'f> {
    /// From the first byte on. It asks for as much as it is asked for: put a buffer around it.
    pub fn new(file: &'f dyn RemoteFile) -> Self {
        Self { file, at: 0, ahead: false }
    }

    /// The same, and whatever follows is asked for ahead: the file is read to its end.
    pub fn with_read_ahead(file: &'f dyn RemoteFile) -> Self {
        Self { ahead: true, ..Self::new(file) }
    }
}

impl Read for SequentialReader<'_> {
    /// An error holds the [`RemoteError`]: see [`RemoteError::from_io_error`].
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
