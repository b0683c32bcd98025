//! Presents parts of files and unpacked bytes as files.

use super::super::file::{self, FileHandle, OpenedFile};
use super::super::identity::FileIdentity;
use super::super::remote::{RemoteError, RemoteFile};
use std::io;
use std::sync::Arc;

/// A range of a file.
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
                RemoteError::Changed("it is shorter than before".to_owned())
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
        "an unpacked member of an archive".to_owned()
    }

    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), RemoteError> {
        let start = usize::try_from(offset).ok();
        let bytes = start.and_then(|start| self.0.get(start..)?.get(..buffer.len()));
        let past_end = || RemoteError::Unavailable("unexpected end of file".to_owned());
        buffer.copy_from_slice(bytes.ok_or_else(past_end)?);
        Ok(())
    }
}

fn opened(file: Arc<dyn RemoteFile>) -> OpenedFile {
    let identity = FileIdentity::from_length(file.bytes());
    OpenedFile { file: FileHandle::Remote(file), identity }
}

/// Presents the bytes `start..end` of a file, up to its end, as a file.
pub(super) fn slice(of: &OpenedFile, [start, end]: [u64; 2]) -> io::Result<OpenedFile> {
    let end = end.min(of.identity.bytes);
    let bytes = end.saturating_sub(start);
    Ok(opened(Arc::new(Slice { of: of.file.try_clone()?, start, bytes })))
}

/// Presents a whole file as a remote file, wherever it is.
pub(super) fn whole(of: &OpenedFile) -> io::Result<impl RemoteFile> {
    Ok(Slice { of: of.file.try_clone()?, start: 0, bytes: of.identity.bytes })
}

/// Presents bytes in memory as a file.
pub(super) fn memory(bytes: Vec<u8>) -> OpenedFile {
    opened(Arc::new(MemoryFile(bytes)))
}
