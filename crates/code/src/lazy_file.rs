//! Reads a file of a model lazily. If it changed since the model was opened, the examination ends with an error.

use std::cell::OnceCell;
use tensorseal_format::{self as checkpoint, ModelFile, OpenError, OpenedFile};

/// The longest companion file in bytes that is checked.
pub(super) const MAX_BYTES: u64 = 32 << 20;

/// The number of bytes of a long file that are read at once.
pub(super) const PIECE: usize = 1 << 20;

/// A file of a model that is opened when the first byte is read.
pub(super) struct LazyFile<'a> {
    pub file: &'a ModelFile,
    opened: OnceCell<OpenedFile>,
    whole: OnceCell<Vec<u8>>,
}

impl<'a> LazyFile<'a> {
    pub(crate) fn new(file: &'a ModelFile) -> LazyFile<'a> {
        LazyFile { file, opened: OnceCell::new(), whole: OnceCell::new() }
    }

    /// Opens the file.
    pub(crate) fn opened(&self) -> Result<&OpenedFile, OpenError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = checkpoint::open(&self.file.location)?;
        if opened.identity != self.file.identity {
            return Err(OpenError::ChangedSinceListing { path: self.file.location.display_path() });
        }
        Ok(self.opened.get_or_init(|| opened))
    }

    /// Fills `buffer` with the bytes from `at` on. A file that was read completely is not read again.
    pub(crate) fn fill(&self, at: u64, buffer: &mut [u8]) -> Result<(), OpenError> {
        let range = usize::try_from(at).ok().zip(at.checked_add(buffer.len() as u64));
        let cached = self
            .whole
            .get()
            .zip(range)
            .and_then(|(whole, (from, end))| whole.get(from..usize::try_from(end).ok()?));
        if let Some(cached) = cached {
            buffer.copy_from_slice(cached);
            return Ok(());
        }
        checkpoint::fill(&self.opened()?.file, at, buffer).map_err(|error| self.failed(error))
    }

    /// Converts an error of reading the file.
    pub(crate) fn failed(&self, error: std::io::Error) -> OpenError {
        OpenError::for_found_path(&self.file.location.display_path(), error)
    }

    /// Reads the whole file, or returns `None` if it is longer than [`MAX_BYTES`].
    pub(crate) fn whole(&self) -> Result<Option<&[u8]>, OpenError> {
        if self.whole.get().is_none() {
            if self.file.bytes > MAX_BYTES {
                return Ok(None);
            }
            let mut bytes = vec![0; self.file.bytes as usize];
            self.fill(0, &mut bytes)?;
            self.whole.get_or_init(|| bytes);
        }
        Ok(self.whole.get().map(Vec::as_slice))
    }

    /// Passes the whole file in order to `visit`, in pieces of at most [`PIECE`] bytes after the last `overlap` bytes
    /// of the previous piece. The second argument tells whether the piece is the last one.
    pub(crate) fn each(
        &self,
        overlap: usize,
        mut visit: impl FnMut(&[u8], bool),
    ) -> Result<(), OpenError> {
        let mut piece: Vec<u8> = Vec::new();
        let mut at = 0;
        while at < self.file.bytes {
            let new = (self.file.bytes - at).min(PIECE as u64) as usize;
            piece.drain(..piece.len().saturating_sub(overlap));
            let from = piece.len();
            piece.resize(from + new, 0);
            self.fill(at, &mut piece[from..])?;
            at += new as u64;
            visit(&piece, at == self.file.bytes);
        }
        Ok(())
    }

    /// The BLAKE3 digest of the whole file.
    pub(crate) fn digest(&self) -> Result<[u8; 32], OpenError> {
        if let Some(whole) = self.whole()? {
            return Ok(*blake3::hash(whole).as_bytes());
        }
        let mut hasher = blake3::Hasher::new();
        self.each(0, |piece, _| {
            hasher.update(piece);
        })?;
        Ok(*hasher.finalize().as_bytes())
    }
}
