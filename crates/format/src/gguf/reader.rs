//! Reads the header of a GGUF file from start to end through a buffer. Nothing is read before it is known to be in
//! the file, and long values are skipped without reading them.

use super::error::GgufError;
use crate::file::{self, FileHandle};
use std::io;

/// The number of bytes that are read at once.
const WINDOW: u64 = 64 << 10;

/// A source of bytes with random access.
pub(super) trait ByteReader {
    /// Fills `buffer` with the bytes from `at` on.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl ByteReader for FileHandle {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        file::fill(self, at, buffer)
    }
}

/// The start of a file, which continues with zeros.
pub(super) struct FilePrefix<'a>(pub &'a [u8]);

impl ByteReader for FilePrefix<'_> {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let prefix = self.0;
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(prefix.len());
        let available = &prefix[from..prefix.len().min(from.saturating_add(buffer.len()))];
        let (start, rest) = buffer.split_at_mut(available.len());
        start.copy_from_slice(available);
        rest.fill(0);
        Ok(())
    }
}

/// The reason why reading stops.
#[derive(Debug)]
pub(super) enum Stop {
    /// An error of the operating system.
    Io(io::Error),
    /// An error after which the position of the following data is unknown.
    Fault(GgufError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Io(error)
    }
}

impl From<GgufError> for Stop {
    fn from(error: GgufError) -> Self {
        Stop::Fault(error)
    }
}

/// Reads numbers and strings from start to end.
pub(super) struct Reader<'a> {
    bytes: &'a dyn ByteReader,
    /// The buffered part of the file; `start` is its position in the file.
    window: Vec<u8>,
    start: u64,
    position: u64,
    end: u64,
    /// Whether numbers are big-endian.
    pub big_endian: bool,
    /// Whether counts and lengths have 32 bits, as in version 1.
    pub narrow: bool,
}

impl<'a> Reader<'a> {
    /// Reads a file of `end` bytes from its start.
    pub(super) fn new(bytes: &'a dyn ByteReader, end: u64) -> Reader<'a> {
        let window = Vec::new();
        Reader { bytes, window, start: 0, position: 0, end, big_endian: false, narrow: false }
    }

    /// The position of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The number of bytes up to the end of the file.
    pub(super) fn left(&self) -> u64 {
        self.end - self.position
    }

    /// The size of a count or a length in bytes.
    pub(super) fn length_width(&self) -> u64 {
        if self.narrow { 4 } else { 8 }
    }

    /// Returns some of the next `max` bytes. The result is empty only at the end of the file.
    fn ahead(&mut self, max: u64) -> Result<&[u8], Stop> {
        let at = usize::try_from(self.position - self.start).unwrap_or(usize::MAX);
        let mut at = at.min(self.window.len());
        let buffered = (self.window.len() - at) as u64;
        if buffered < max.min(WINDOW).min(self.left()) {
            self.start = self.position;
            // If reading fails, the window stays empty.
            let mut window = std::mem::take(&mut self.window);
            window.resize(self.left().min(WINDOW) as usize, 0);
            self.bytes.read_at(self.start, &mut window)?;
            self.window = window;
            at = 0;
        }
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let until = self.window.len().min(at.saturating_add(max));
        Ok(&self.window[at..until])
    }

    /// Reads the next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut array = [0; N];
        match self.ahead(N as u64)?.get(..N) {
            Some(bytes) => array.copy_from_slice(bytes),
            None => return Err(GgufError::HeaderCut { file_bytes: self.end }.into()),
        }
        self.position += N as u64;
        Ok(array)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Stop> {
        let bytes = self.array()?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    pub(super) fn u64(&mut self) -> Result<u64, Stop> {
        let bytes = self.array()?;
        Ok(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// Reads a count, a length or a dimension.
    pub(super) fn length(&mut self) -> Result<u64, Stop> {
        if self.narrow { self.u32().map(u64::from) } else { self.u64() }
    }

    /// Reads an unsigned number of `width` bytes, at most 8.
    pub(super) fn number(&mut self, width: usize) -> Result<u64, Stop> {
        let mut bytes = [0; 8];
        for at in 0..width.min(8) {
            let [byte] = self.array()?;
            bytes[if self.big_endian { width - 1 - at } else { at }] = byte;
        }
        Ok(u64::from_le_bytes(bytes))
    }

    /// Passes the next `count` bytes in pieces to `visit`. The caller has checked that they are in the file.
    pub(super) fn each(&mut self, count: u64, mut visit: impl FnMut(&[u8])) -> Result<(), Stop> {
        let mut left = count;
        while left > 0 {
            let piece = self.ahead(left)?;
            let taken = piece.len() as u64;
            if taken == 0 {
                return Err(GgufError::HeaderCut { file_bytes: self.end }.into());
            }
            visit(piece);
            self.position += taken;
            left -= taken;
        }
        Ok(())
    }

    /// Skips `count` bytes. The caller has checked that they are in the file.
    pub(super) fn skip(&mut self, count: u64) {
        self.position = self.position.saturating_add(count).min(self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_either_order_across_windows() {
        let mut bytes = vec![0u8; WINDOW as usize + 20];
        let at = WINDOW as usize - 3;
        bytes[at..at + 8].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let place: &[u8] = &bytes;
        let prefix = FilePrefix(place);
        let mut reader = Reader::new(&prefix, bytes.len() as u64);
        reader.u32().unwrap();
        reader.skip(at as u64 - 4);
        assert_eq!(reader.u64().unwrap(), 0x0807_0605_0403_0201);
        assert_eq!(reader.left(), 15);
        let mut reader = Reader::new(&prefix, bytes.len() as u64);
        reader.big_endian = true;
        reader.skip(at as u64);
        assert_eq!(reader.number(2).unwrap(), 0x0102);
        assert_eq!(reader.u32().unwrap(), 0x0304_0506);
        reader.skip(16);
        assert!(matches!(reader.u32(), Err(Stop::Fault(GgufError::HeaderCut { .. }))));
        assert_eq!(reader.left(), 1);
    }

    #[test]
    fn pieces_are_the_bytes() {
        let bytes: Vec<u8> = (0..3 * WINDOW + 7).map(|i| (i % 251) as u8).collect();
        let prefix = FilePrefix(&bytes);
        let mut reader = Reader::new(&prefix, bytes.len() as u64);
        reader.skip(5);
        let mut seen = Vec::new();
        let count = bytes.len() as u64 - 9;
        reader.each(count, |piece| seen.extend_from_slice(piece)).unwrap();
        assert_eq!(seen, bytes[5..bytes.len() - 4]);
    }
}
