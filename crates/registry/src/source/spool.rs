//! Temporary files for remote data that cannot be read by ranges and is fetched once.
//!
//! The files have no names: the system removes them when the process ends, and no file name of a remote machine
//! reaches the file system.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use tensorseal_base::system::{free_space, read_exact_at};
use tensorseal_format::{RemoteError, RemoteFile};

/// The fraction of the free space that is not used: one part in this many.
const RESERVE: u64 = 20;

/// A temporary file that is written.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    written: u64,
    limit: u64,
}

impl Spool {
    /// Creates an empty temporary file in `directory`. It takes up to `limit` bytes, or less if the file system has less
    /// space.
    ///
    /// # Errors
    /// Returns the error of the file system if the file cannot be created.
    pub(super) fn new(directory: &Path, limit: u64) -> io::Result<Self> {
        let file = tempfile::tempfile_in(directory)?;
        let limit = free_space(&file).map_or(limit, |free| limit.min(free - free / RESERVE));
        Ok(Self { file, written: 0, limit })
    }

    /// Returns the number of bytes that were written.
    #[cfg(feature = "oci")]
    pub(super) fn len(&self) -> u64 {
        self.written
    }

    /// Returns the number of bytes that may still be written.
    pub(super) fn room(&self) -> u64 {
        self.limit - self.written
    }

    /// Returns the written bytes for reading.
    pub(super) fn into_bytes(self) -> SpooledBytes {
        SpooledBytes { file: Arc::new(self.file), bytes: self.written }
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.room() {
            let kind = io::ErrorKind::FileTooLarge;
            return Err(io::Error::new(
                kind,
                format!("not enough space: the temporary file is limited to {} bytes", self.limit),
            ));
        }
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The bytes of a temporary file. The space is freed with the last file that is read from it.
#[derive(Debug, Clone)]
pub(crate) struct SpooledBytes {
    file: Arc<File>,
    bytes: u64,
}

impl SpooledBytes {
    /// Returns a range of the bytes as a model file; `None` if the range is out of bounds.
    pub(super) fn file(
        &self,
        start: u64,
        bytes: u64,
        place: String,
    ) -> Option<Arc<dyn RemoteFile>> {
        let fits = start.checked_add(bytes).is_some_and(|end| end <= self.bytes);
        let file = || SpooledFile { file: Arc::clone(&self.file), start, bytes, place };
        fits.then(|| Arc::new(file()) as Arc<dyn RemoteFile>)
    }
}

/// A model file in a range of a temporary file.
#[derive(Debug)]
struct SpooledFile {
    file: Arc<File>,
    start: u64,
    bytes: u64,
    place: String,
}

impl RemoteFile for SpooledFile {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), RemoteError> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.bytes) {
            return Err(RemoteError::Unavailable("the read is beyond the end of the file".into()));
        }
        read_exact_at(&self.file, buffer, self.start + offset).map_err(|error| {
            RemoteError::Unavailable(format!("cannot read the temporary file: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_spool() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(directory.path(), 10).unwrap();
        spool.write_all(b"0123456").unwrap();
        assert_eq!((spool.len(), spool.room()), (7, 3));
        let error = spool.write_all(b"7890").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);

        let bytes = spool.into_bytes();
        assert!(bytes.file(3, 5, String::new()).is_none());
        assert!(bytes.file(u64::MAX, 2, String::new()).is_none());
        let file = bytes.file(3, 4, "here".to_owned()).unwrap();
        drop(bytes);
        let mut buffer = [0; 2];
        file.read_at(2, &mut buffer).unwrap();
        assert_eq!((&buffer, file.bytes(), file.place().as_str()), (b"56", 4, "here"));
        assert!(file.read_at(3, &mut buffer).is_err());
        assert!(file.read_at(u64::MAX, &mut buffer).is_err());
    }
}
