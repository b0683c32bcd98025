//! Unpacks layers into a spool, one file after the other.
//!
//! Archives are hostile. No name in an archive reaches the file system. The length of its headers and of the unpacked
//! data is limited. Links and other members that are not regular files are refused. Names that lead out of the model or
//! occur twice are reported when the model is opened.

use super::super::spool::Spool;
use super::compressed;
use super::media::LayerPacking;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use tar::{Archive, Entry, EntryType};
use tensorseal_base::display::quoted;

/// The longest headers of a member in bytes: names, extended attributes, and the map of a sparse file.
const MAX_HEADERS: u64 = 1 << 20;

/// The largest number of members of an archive.
const MAX_MEMBERS: usize = 100_000;

/// The largest number of refused members that are reported one by one.
const MAX_REPORTED: usize = 20;

/// The number of bytes that are copied at once.
const COPY: usize = 128 << 10;

/// A file that was unpacked from a layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnpackedMember {
    /// The path in the model.
    pub path: String,
    /// The offset in the spool.
    pub start: u64,
    /// The length in bytes.
    pub bytes: u64,
}

/// The result of unpacking a layer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct UnpackedLayer {
    /// The unpacked files.
    pub members: Vec<UnpackedMember>,
    /// Descriptions of the first refused members.
    pub refused: Vec<String>,
    /// The number of refused members.
    pub refusals: u64,
}

/// An error while a layer is unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    /// The layer is damaged.
    #[error("{0}")]
    Damaged(String),
    /// The unpacked data is too long.
    #[error("the archive unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// The temporary file could not be written.
    #[error("cannot write the temporary file: {0}")]
    Spool(io::Error),
}

/// Unpacks a layer. An archive gives the files of its members, and another layer gives the file `path`. After an error,
/// `contents` has the files that were unpacked before.
///
/// # Errors
/// Returns an [`UnpackError`] if the layer is damaged or cannot be read, if it is too long, or if the spool cannot be
/// written.
pub(super) fn unpack(
    layer: impl Read,
    packing: LayerPacking,
    path: &str,
    spool: &mut Spool,
    contents: &mut UnpackedLayer,
) -> Result<(), UnpackError> {
    let decompressed = compressed::reader(layer, packing.compression);
    let allowed = Rc::new(Cell::new(0));
    let limit = spool.room();
    let mut bounded = BoundedReader { inner: decompressed, allowed: Rc::clone(&allowed) };
    if !packing.archive {
        allowed.set(u64::MAX);
        let start = spool.len();
        copy(&mut bounded, spool)?;
        let bytes = spool.len() - start;
        contents.members.push(UnpackedMember { path: path.to_owned(), start, bytes });
        return Ok(());
    }
    let mut archive = Archive::new(bounded);
    let mut entries = archive.entries().map_err(damaged)?;
    let mut members = 0;
    loop {
        allowed.set(MAX_HEADERS);
        let Some(entry) = entries.next() else { return Ok(()) };
        let mut entry = entry.map_err(damaged)?;
        members += 1;
        if members > MAX_MEMBERS {
            return Err(UnpackError::Damaged(format!(
                "the archive has more than {MAX_MEMBERS} members"
            )));
        }
        // Refused members count as well, because they are decompressed.
        if entry.size() > spool.room() {
            return Err(UnpackError::TooLarge(limit));
        }
        allowed.set(entry.size().saturating_add(MAX_HEADERS));
        if let Some(path) = contents.accept(&mut entry)? {
            let (start, expected) = (spool.len(), entry.size());
            copy(&mut entry, spool)?;
            let bytes = spool.len() - start;
            if bytes != expected {
                return Err(UnpackError::Damaged(format!(
                    "the archive ends inside of {}",
                    quoted(&path)
                )));
            }
            contents.members.push(UnpackedMember { path, start, bytes });
        } else {
            io::copy(&mut entry, &mut io::sink()).map_err(damaged)?;
        }
    }
}

impl UnpackedLayer {
    fn refuse(&mut self, what: String) {
        self.refusals += 1;
        if self.refused.len() < MAX_REPORTED {
            self.refused.push(what);
        }
    }

    /// Returns the path of a member that is a model file; `None` if it is a directory or is refused.
    fn accept<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<Option<String>, UnpackError> {
        let name = entry.path_bytes().into_owned();
        let shown = quoted(&String::from_utf8_lossy(&name));
        let kind = match entry.header().entry_type() {
            EntryType::Directory | EntryType::XGlobalHeader => return Ok(None),
            EntryType::Regular | EntryType::Continuous if is_sparse(entry)? => "a sparse file",
            EntryType::Regular | EntryType::Continuous => "",
            EntryType::Link => "a hard link",
            EntryType::Symlink => "a symbolic link",
            EntryType::Char | EntryType::Block => "a device",
            EntryType::Fifo => "a named pipe",
            EntryType::GNUSparse => "a sparse file",
            _ => "of an unknown type",
        };
        if !kind.is_empty() {
            self.refuse(format!("{shown} is {kind}"));
            return Ok(None);
        }
        let Ok(name) = String::from_utf8(name) else {
            self.refuse(format!("the name {shown} is not UTF-8"));
            return Ok(None);
        };
        // `tar` writes this prefix if its argument is the directory `.`.
        Ok(Some(name.strip_prefix("./").unwrap_or(&name).to_owned()))
    }
}

/// Returns whether a member is a sparse file as GNU tar writes it in pax archives.
fn is_sparse<R: Read>(entry: &mut Entry<'_, R>) -> Result<bool, UnpackError> {
    let Some(extensions) = entry.pax_extensions().map_err(damaged)? else { return Ok(false) };
    let mut sparse = false;
    for extension in extensions {
        sparse |= extension.map_err(damaged)?.key_bytes().starts_with(b"GNU.sparse.");
    }
    Ok(sparse)
}

fn copy(from: &mut impl Read, spool: &mut Spool) -> Result<(), UnpackError> {
    let limit = spool.len() + spool.room();
    let mut buffer = vec![0; COPY];
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(damaged(error)),
        };
        spool.write_all(&buffer[..got]).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => UnpackError::TooLarge(limit),
            _ => UnpackError::Spool(error),
        })?;
    }
}

fn damaged(error: io::Error) -> UnpackError {
    UnpackError::Damaged(format!("cannot unpack the archive: {error}"))
}

/// A reader that returns an error when more bytes are read than are allowed at the time. It bounds the memory that
/// hostile headers can use.
struct BoundedReader<R> {
    inner: R,
    allowed: Rc<Cell<u64>>,
}

impl<R: Read> Read for BoundedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = self.allowed.get();
        if allowed == 0 && !buffer.is_empty() {
            return Err(io::Error::other("a header is too long"));
        }
        let len = buffer.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        let got = self.inner.read(&mut buffer[..len])?;
        self.allowed.set(allowed - got as u64);
        Ok(got)
    }
}

#[cfg(test)]
mod tests;
