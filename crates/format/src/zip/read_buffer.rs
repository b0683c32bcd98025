//! Buffers reads of local headers, which are small and mostly close to each other.

use crate::file::{self, OpenedFile};
use std::io;

/// The smallest number of bytes to read: for the header of a member that is far from the others.
const MIN_READ: u64 = 4 << 10;
/// The largest number of bytes to read: longer than any header with its name and fields, so that overlapping
/// headers do not cause the same bytes to be read again and again.
const MAX_READ: u64 = 256 << 10;

/// A buffered part of a file for reads at ascending positions. The more of the positions are close to each other,
/// the more is read at once.
#[derive(Debug)]
pub(super) struct ReadBuffer<'a> {
    opened: &'a OpenedFile,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> ReadBuffer<'a> {
    pub(super) fn new(opened: &'a OpenedFile) -> ReadBuffer<'a> {
        ReadBuffer { opened, start: 0, bytes: Vec::new() }
    }

    /// Returns `count` bytes from `at` on. The caller has checked that they are in the file and few.
    pub(super) fn read(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        let buffered = self.bytes.len() as u64;
        let before = at.checked_sub(self.start);
        if before.is_none_or(|before| before + count as u64 > buffered) {
            let near = before.is_some_and(|before| before <= 2 * buffered);
            let size = if near { (2 * buffered).clamp(MIN_READ, MAX_READ) } else { MIN_READ };
            let left = self.opened.identity.bytes.saturating_sub(at);
            let size = size.min(left).max(count as u64);
            self.bytes = file::read_at(&self.opened.file, at, size as usize)?;
            self.start = at;
        }
        let from = (at - self.start) as usize;
        Ok(&self.bytes[from..from + count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    proptest! {
        #[test]
        fn gives_the_bytes_of_the_file(
            mut places in prop::collection::vec((0usize..300_000, 0usize..140_000), 1..40),
            ascending: bool,
        ) {
            let whole: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            let mut stored = tempfile::NamedTempFile::new().unwrap();
            stored.write_all(&whole).unwrap();
            let opened = file::open(&stored.path().canonicalize().unwrap().into()).unwrap();
            if ascending {
                places.sort_unstable();
            }
            let mut window = ReadBuffer::new(&opened);
            for (at, count) in places {
                let count = count.min(whole.len() - at);
                prop_assert_eq!(window.read(at as u64, count).unwrap(), &whole[at..at + count]);
            }
        }
    }
}
