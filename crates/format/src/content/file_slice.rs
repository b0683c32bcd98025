//! Parts of files as files: a stretch of one, and bytes that were unpacked.

use super::super::file::{self, FileHandle, OpenedFile};
use super::super::identity::FileIdentity;
use super::super::remote::{RemoteError, RemoteFile};
use std::io;
use std::sync::Arc;

/// A stretch of a file.
#[derive(Debug)]
struct Slice {
    of: FileHandle,
    start: u64,
    bytes: u64,
}

impl RemoteFile for Slice {
    fn place(&self) -> String {
        "a member of an archive".to_owned()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), RemoteError> {
        let failed = |error: io::Error| match RemoteError::from_io_error(&error) {
            Some(remote) => remote.clone(),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                RemoteError::Changed("it is shorter than it was".to_owned())
            }
            None => RemoteError::Unavailable(error.to_string()),
        };
        file::fill(&self.of, self.start.saturating_add(offset), buffer).map_err(failed)
    }
}

/// Bytes in memory.
#[derive(Debug)]
struct MemoryFile(Vec<u8>);

impl RemoteFile for MemoryFile {
    fn place(&self) -> String {
        "what was unpacked".to_owned()
    }

    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), RemoteError> {
        let start = usize::try_from(offset).ok();
        let held = start.and_then(|start| self.0.get(start..)?.get(..buffer.len()));
        let past = || RemoteError::Unavailable("it ends before".to_owned());
        buffer.copy_from_slice(held.ok_or_else(past)?);
        Ok(())
    }
}

fn opened(file: Arc<dyn RemoteFile>) -> OpenedFile {
    let identity = FileIdentity::from_length(file.bytes());
    OpenedFile { file: FileHandle::Remote(file), identity }
}

/// The bytes `start..end` of a file as a file, as far as they are there.
pub(super) fn slice(of: &OpenedFile, [start, end]: [u64; 2]) -> io::Result<OpenedFile> {
    let end = end.min(of.identity.bytes);
    let bytes = end.saturating_sub(start);
    Ok(opened(Arc::new(Slice { of: of.file.try_clone()?, start, bytes })))
}

/// All bytes of a file, wherever it lies, as those of another machine are read.
pub(super) fn whole(of: &OpenedFile) -> io::Result<impl RemoteFile> {
    Ok(Slice { of: of.file.try_clone()?, start: 0, bytes: of.identity.bytes })
}

/// Bytes as a file.
pub(super) fn memory(bytes: Vec<u8>) -> OpenedFile {
    opened(Arc::new(MemoryFile(bytes)))
}
