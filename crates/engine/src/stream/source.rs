//! Sources of bytes: a memory map, positioned reads, or ranges of a remote file.

#[cfg(unix)]
use super::sigbus::Guard;
#[cfg(not(unix))]
use super::unguarded::Guard;
#[cfg(unix)]
use memmap2::Advice;
use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io;
use std::sync::Arc;
use tensorseal_base::system::read_exact_at;
use tensorseal_format::{RemoteError, RemoteFile};

/// The longest piece in bytes that a source hands over at once. It fits the second-level cache of a core
/// together with the tables of the kernels.
pub const PIECE_LEN: usize = 128 << 10;

/// The alignment of addresses in queries of the operating system; larger pages are multiples of it.
#[cfg(unix)]
const PAGE: usize = 64 << 10;

/// Bytes could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file is shorter than when it was opened.
    #[error("it was truncated while it was being read")]
    Shrunk,
    /// The operating system returned an error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The remote source returned an error.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// Random access to the bytes of one file.
pub trait ByteSource: Send + Sync {
    /// Hands the bytes `offset..offset + len` to `sink`, in order, in one or more pieces.
    ///
    /// The pieces may lie in memory that another process can change: a sink must read each byte
    /// once (hash it, or copy it and work on the copy).
    ///
    /// # Errors
    /// Returns a [`ReadError`] if the bytes cannot be read. What the sink received until then must be
    /// discarded.
    fn read(&self, offset: u64, len: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), ReadError>;

    /// Hints that the bytes `offset..offset + len` will be read soon. This is cheap if they are already in
    /// memory.
    fn read_ahead(&self, _offset: u64, _len: usize) {}

    /// Returns the bytes in the byte order of the file; `None` if [`ByteSource::read`] gives the same.
    fn raw(&self) -> Option<&dyn ByteSource> {
        None
    }
}

/// A memory-mapped file, guarded against truncation.
pub struct MapSource {
    // Fields are dropped in order: the guard before the mapping.
    guard: Guard,
    map: Mmap,
}

impl MapSource {
    /// Maps `len` bytes of `file`. Returns `None` if the file cannot be mapped or guarded; use a
    /// [`ReadSource`] then.
    pub fn new(file: &File, len: u64) -> Option<MapSource> {
        let len = usize::try_from(len).ok()?;
        // SAFETY: the mapping is only read, and through `read` alone, whose contract is that the
        // bytes may change at any time; truncation is caught by the guard.
        let map = unsafe { MmapOptions::new().len(len).map(file) }.ok()?;
        #[cfg(unix)]
        let _ = map.advise(Advice::Sequential);
        let guard = Guard::new(map.as_ptr() as usize, map.len())?;
        Some(MapSource { guard, map })
    }
}

impl ByteSource for MapSource {
    fn read(&self, offset: u64, len: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), ReadError> {
        let start = usize::try_from(offset).map_err(|_| ReadError::Shrunk)?;
        let end = start.checked_add(len).ok_or(ReadError::Shrunk)?;
        sink(self.map.get(start..end).ok_or(ReadError::Shrunk)?);
        if self.guard.faulted() { Err(ReadError::Shrunk) } else { Ok(()) }
    }

    #[cfg(unix)]
    fn read_ahead(&self, offset: u64, len: usize) {
        let Ok(start) = usize::try_from(offset) else { return };
        let len = len.min(self.map.len().saturating_sub(start));
        // A request for pages in memory costs a check of each of them; one page is representative.
        if len > 0 && !self.is_resident(start) {
            let _ = self.map.advise_range(Advice::WillNeed, start, len);
        }
    }
}

#[cfg(unix)]
impl MapSource {
    /// Returns whether the page at `offset` is in memory.
    fn is_resident(&self, offset: usize) -> bool {
        let page = offset & !(PAGE - 1);
        let mut resident = 0u8;
        // SAFETY: the page lies inside the mapping, and mincore writes one byte for one page.
        let status = unsafe {
            libc::mincore(
                self.map.as_ptr().add(page).cast_mut().cast(),
                1,
                (&raw mut resident).cast(),
            )
        };
        status == 0 && resident & 1 == 1
    }
}

/// Reads a file without a memory map: for small files, and where mapping is not possible.
pub struct ReadSource(File);

impl ReadSource {
    /// Creates a source that reads from `file` and keeps it open.
    pub fn new(file: File) -> ReadSource {
        ReadSource(file)
    }
}

impl ByteSource for ReadSource {
    fn read(&self, offset: u64, len: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), ReadError> {
        let mut buffer = vec![0; len.min(PIECE_LEN)];
        let mut done = 0;
        while done < len {
            let piece = &mut buffer[..(len - done).min(PIECE_LEN)];
            read_exact_at(&self.0, piece, offset + done as u64).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::UnexpectedEof => ReadError::Shrunk,
                    _ => ReadError::Io(error),
                }
            })?;
            sink(piece);
            done += piece.len();
        }
        Ok(())
    }
}

/// Reads ranges of a remote file.
pub struct RemoteSource(Arc<dyn RemoteFile>);

/// How many bytes ahead of a reader a remote file is requested.
const REMOTE_AHEAD: usize = 8 << 20;

impl RemoteSource {
    /// Creates a source that reads from `file`.
    pub fn new(file: Arc<dyn RemoteFile>) -> RemoteSource {
        RemoteSource(file)
    }
}

impl ByteSource for RemoteSource {
    fn read(&self, offset: u64, len: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), ReadError> {
        let end = offset.checked_add(len as u64).ok_or(ReadError::Shrunk)?;
        if end > self.0.bytes() {
            return Err(ReadError::Shrunk);
        }
        // Small objects are read one after the other without a hint.
        self.0.read_ahead(end, REMOTE_AHEAD);
        let mut buffer = vec![0; len.min(PIECE_LEN)];
        let mut done = 0;
        while done < len {
            let piece = &mut buffer[..(len - done).min(PIECE_LEN)];
            self.0.read_at(offset + done as u64, piece)?;
            sink(piece);
            done += piece.len();
        }
        Ok(())
    }

    fn read_ahead(&self, offset: u64, len: usize) {
        self.0.read_ahead(offset, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn sample(len: usize) -> (File, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|i| (i % 253) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (file, bytes)
    }

    fn read_all(source: &dyn ByteSource, offset: u64, len: usize) -> Result<Vec<u8>, ReadError> {
        let mut out = Vec::new();
        source.read(offset, len, &mut |piece| out.extend_from_slice(piece))?;
        Ok(out)
    }

    #[test]
    fn both_sources_read_the_same() {
        let (file, bytes) = sample(3 * PIECE_LEN + 17);
        let map = MapSource::new(&file, bytes.len() as u64).unwrap();
        let reads = ReadSource::new(file);
        for (offset, len) in [(0, bytes.len()), (1, 2 * PIECE_LEN + 5), (3 * PIECE_LEN, 17), (9, 0)]
        {
            let expected = &bytes[offset..offset + len];
            assert_eq!(read_all(&map, offset as u64, len).unwrap(), expected);
            assert_eq!(read_all(&reads, offset as u64, len).unwrap(), expected);
        }
        assert!(matches!(read_all(&map, 0, bytes.len() + 1), Err(ReadError::Shrunk)));
        assert!(matches!(read_all(&reads, 0, bytes.len() + 1), Err(ReadError::Shrunk)));
    }

    #[test]
    fn a_truncated_map_gives_an_error_and_no_crash() {
        let (file, bytes) = sample(64 << 10);
        let map = MapSource::new(&file, bytes.len() as u64).unwrap();
        assert!(read_all(&map, 0, bytes.len()).is_ok());
        file.set_len(4096).unwrap();
        assert!(matches!(read_all(&map, 0, bytes.len()), Err(ReadError::Shrunk)));
        // The next mapping that uses the same table entry is not affected.
        drop(map);
        let (file, bytes) = sample(64 << 10);
        let map = MapSource::new(&file, bytes.len() as u64).unwrap();
        assert_eq!(read_all(&map, 0, bytes.len()).unwrap(), bytes);
    }
}
