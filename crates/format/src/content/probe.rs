//! The parts of a file that are read to classify it: the head, the tail, and a few other places.

use super::super::file::{self, OpenedFile};
use super::super::paths::extension;
use std::io;

/// The number of bytes at the start that are always read.
pub(super) const HEAD: usize = 4 << 10;
/// The number of bytes at the end that are always read of a longer file. They hold the end record of a zip archive.
const TAIL: usize = 4 << 10;
/// The size of the end record of a zip archive with the longest comment.
const LONG_TAIL: u64 = 22 + u16::MAX as u64;

/// A file with its head and its tail.
pub(super) struct FileProbe<'o> {
    /// The path in the model.
    pub path: &'o str,
    /// The file.
    pub opened: &'o OpenedFile,
    /// The length in bytes.
    pub bytes: u64,
    /// The first bytes, or all bytes of a short file.
    pub head: Vec<u8>,
    /// The last bytes of a file that is longer than its head.
    tail: Vec<u8>,
}

impl<'o> FileProbe<'o> {
    /// Reads the head and the tail.
    pub(super) fn new(path: &'o str, opened: &'o OpenedFile) -> io::Result<FileProbe<'o>> {
        let bytes = opened.identity.bytes;
        let head = file::read_at(&opened.file, 0, bytes.min(HEAD as u64) as usize)?;
        let mut probe = FileProbe { path, opened, bytes, head, tail: Vec::new() };
        if !probe.is_whole() {
            let length = bytes.min(TAIL as u64);
            probe.tail = file::read_at(&opened.file, bytes - length, length as usize)?;
        }
        Ok(probe)
    }

    /// Whether the head is the whole file.
    pub(super) fn is_whole(&self) -> bool {
        self.head.len() as u64 == self.bytes
    }

    /// The last bytes of the file.
    pub(super) fn tail(&self) -> &[u8] {
        if self.is_whole() { &self.head } else { &self.tail }
    }

    /// The last bytes, enough for the end record of a zip archive with the longest comment.
    pub(super) fn long_tail(&self) -> io::Result<Vec<u8>> {
        self.read_at(self.bytes.saturating_sub(LONG_TAIL), LONG_TAIL as usize)
    }

    /// Reads bytes at any position, up to the end of the file.
    pub(super) fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let count = self.bytes.saturating_sub(offset).min(length as u64);
        let end = offset.saturating_add(count);
        if end <= self.head.len() as u64 {
            let bytes = self.head.get(offset as usize..end as usize).unwrap_or_default();
            return Ok(bytes.to_vec());
        }
        file::read_at(&self.opened.file, offset, count as usize)
    }

    /// Whether the head has these bytes at an offset.
    pub(super) fn has(&self, offset: usize, magic: &[u8]) -> bool {
        self.head.get(offset..).is_some_and(|rest| rest.starts_with(magic))
    }

    /// The extension of the name without the dot, in lower case.
    pub(super) fn extension(&self) -> String {
        extension(self.path)
    }

    /// A little-endian number in the head.
    pub(super) fn u32(&self, offset: usize) -> Option<u32> {
        let bytes = self.head.get(offset..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    }
}
