//! What of a file is looked at to tell what it is: its head, its tail, and few other places.

use super::super::file::{self, OpenedFile};
use super::super::paths::extension;
use std::io;

/// Bytes at the start that are always read.
pub(super) const HEAD: usize = 4 << 10;
/// Bytes at the end that are always read of a longer file: the end record of a zip archive.
const TAIL: usize = 4 << 10;
/// The same with the longest comment.
const LONG_TAIL: u64 = 22 + u16::MAX as u64;

/// A file of which the head and the tail were read.
pub(super) struct FileProbe<'o> {
    /// Its path in the model.
    pub path: &'o str,
    /// The file.
    pub opened: &'o OpenedFile,
    /// Its length.
    pub bytes: u64,
    /// Its first bytes: all of a short one.
    pub head: Vec<u8>,
    /// Its last bytes, of one that is longer than its head.
    tail: Vec<u8>,
}

impl<'o> FileProbe<'o> {
    /// Reads the head and the tail.
    pub(super) fn new(path: &'o str, opened: &'o OpenedFile) -> io::Result<FileProbe<'o>> {
        let bytes = opened.identity.bytes;
        let head = file::read_at(&opened.file, 0, bytes.min(HEAD as u64) as usize)?;
        let mut look = FileProbe { path, opened, bytes, head, tail: Vec::new() };
        if !look.is_whole() {
            let length = bytes.min(TAIL as u64);
            look.tail = file::read_at(&opened.file, bytes - length, length as usize)?;
        }
        Ok(look)
    }

    /// Whether the head is all of the file.
    pub(super) fn is_whole(&self) -> bool {
        self.head.len() as u64 == self.bytes
    }

    /// The last bytes of the file.
    pub(super) fn tail(&self) -> &[u8] {
        if self.is_whole() { &self.head } else { &self.tail }
    }

    /// As many of the last bytes as the end of an archive can take.
    pub(super) fn long_tail(&self) -> io::Result<Vec<u8>> {
        self.read_at(self.bytes.saturating_sub(LONG_TAIL), LONG_TAIL as usize)
    }

    /// Bytes of anywhere, as many as are there.
    pub(super) fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let there = self.bytes.saturating_sub(offset).min(length as u64);
        let end = offset.saturating_add(there);
        if end <= self.head.len() as u64 {
            let held = self.head.get(offset as usize..end as usize).unwrap_or_default();
            return Ok(held.to_vec());
        }
        file::read_at(&self.opened.file, offset, there as usize)
    }

    /// Whether the bytes from an offset of the head on are these.
    pub(super) fn has(&self, offset: usize, magic: &[u8]) -> bool {
        self.head.get(offset..).is_some_and(|rest| rest.starts_with(magic))
    }

    /// The ending of the name, without the dot and in small letters.
    pub(super) fn extension(&self) -> String {
        extension(self.path)
    }

    /// A little-endian number in the head.
    pub(super) fn u32(&self, offset: usize) -> Option<u32> {
        let bytes = self.head.get(offset..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    }
}
