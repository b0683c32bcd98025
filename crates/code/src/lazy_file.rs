//! Reading a file of a model once: it is the one that was opened with the model, or the whole look ends.

use std::cell::OnceCell;
use tensorseal_format::{self as checkpoint, ModelFile, OpenError, OpenedFile};

/// Longest companion that is looked into.
pub(super) const MOST: u64 = 32 << 20;

/// Bytes that are read at once of a longer one.
pub(super) const PIECE: usize = 1 << 20;

/// A file of a model. It is opened when the first byte is asked for.
pub(super) struct LazyFile<'a> {
    pub file: &'a ModelFile,
    opened: OnceCell<OpenedFile>,
    whole: OnceCell<Vec<u8>>,
}

impl<'a> LazyFile<'a> {
    pub(crate) fn new(file: &'a ModelFile) -> LazyFile<'a> {
        LazyFile { file, opened: OnceCell::new(), whole: OnceCell::new() }
    }

    /// The file, opened.
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

    /// Fills `buffer` with the bytes from `at` on. What was read whole is not read again.
    pub(crate) fn fill(&self, at: u64, buffer: &mut [u8]) -> Result<(), OpenError> {
        let range = usize::try_from(at).ok().zip(at.checked_add(buffer.len() as u64));
        let held = self
            .whole
            .get()
            .zip(range)
            .and_then(|(whole, (from, end))| whole.get(from..usize::try_from(end).ok()?));
        if let Some(held) = held {
            buffer.copy_from_slice(held);
            return Ok(());
        }
        checkpoint::fill(&self.opened()?.file, at, buffer).map_err(|error| self.failed(error))
    }

    /// What an error of reading it is.
    pub(crate) fn failed(&self, error: std::io::Error) -> OpenError {
        OpenError::for_found_path(&self.file.location.display_path(), error)
    }

    /// All of it; `None`: it is longer than is looked into.
    pub(crate) fn whole(&self) -> Result<Option<&[u8]>, OpenError> {
        if self.whole.get().is_none() {
            if self.file.bytes > MOST {
                return Ok(None);
            }
            let mut bytes = vec![0; self.file.bytes as usize];
            self.fill(0, &mut bytes)?;
            self.whole.get_or_init(|| bytes);
        }
        Ok(self.whole.get().map(Vec::as_slice))
    }

    /// Shows all of it in order, in pieces of at most [`PIECE`] bytes behind `overlap` bytes of the one
    /// before.
    pub(crate) fn each(
        &self,
        overlap: usize,
        mut look: impl FnMut(&[u8], bool),
    ) -> Result<(), OpenError> {
        let mut held: Vec<u8> = Vec::new();
        let mut at = 0;
        while at < self.file.bytes {
            let new = (self.file.bytes - at).min(PIECE as u64) as usize;
            held.drain(..held.len().saturating_sub(overlap));
            let from = held.len();
            held.resize(from + new, 0);
            self.fill(at, &mut held[from..])?;
            at += new as u64;
            look(&held, at == self.file.bytes);
        }
        Ok(())
    }

    /// BLAKE3 of all of it.
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
