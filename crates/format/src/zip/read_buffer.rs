//! Headers of members are small, and mostly close to each other: they are read through a window.

use crate::file::{self, OpenedFile};
use std::io;

/// What is read at least: the header of a member that lies far from the others.
const LEAST: u64 = 4 << 10;
/// What is read at most: longer than any header with its names and fields, so that headers which overlap
/// do not make it read the same bytes again and again.
const MOST: u64 = 256 << 10;

/// Bytes of a file that were read together. Made for positions that ascend: the more of them lie close
/// to each other, the more is read at once.
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

    /// `count` bytes from `at` on, which the caller knows to be in the file, and to be few.
    pub(super) fn read(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        let held = self.bytes.len() as u64;
        let before = at.checked_sub(self.start);
        if before.is_none_or(|before| before + count as u64 > held) {
            let near = before.is_some_and(|before| before <= 2 * held);
            let size = if near { (2 * held).clamp(LEAST, MOST) } else { LEAST };
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
