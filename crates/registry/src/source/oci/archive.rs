//! Unpacking layers: what is packed in them goes into a spool, one file behind the other.
//!
//! An archive is hostile. No name in it reaches the file system; its headers are bounded, and what it
//! unpacks to; links and whatever is no plain file are refused. Names that lead out of the model, or come
//! twice, are told when the model is opened, as those of any list.

use super::super::spool::Spool;
use super::compressed;
use super::media::LayerPacking;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use tar::{Archive, Entry, EntryType};
use tensorseal_base::display::quoted;

/// Longest headers of a member: names, extended attributes, the map of a sparse file.
const MOST_HEADERS: u64 = 1 << 20;

/// Most members of an archive.
const MOST_MEMBERS: usize = 100_000;

/// Most refused members that are told one by one.
const MOST_TOLD: usize = 20;

/// Bytes that are copied at once.
const COPY: usize = 128 << 10;

/// A file that was packed in a layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnpackedMember {
    /// Path in the model.
    pub path: String,
    /// Where it begins in the spool.
    pub start: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What was packed in a layer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct UnpackedLayer {
    /// What was unpacked.
    pub members: Vec<UnpackedMember>,
    /// What was refused: in words each, as far as they are told.
    pub refused: Vec<String>,
    /// How much was refused.
    pub refusals: u64,
}

/// Why unpacking ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    /// It is damaged, or was made to be.
    #[error("{0}")]
    Damaged(String),
    /// It unpacks to more than there is room for.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// The temporary file could not be written.
    #[error("its temporary file: {0}")]
    Spool(io::Error),
}

/// Unpacks a layer that is not an archive to the file `path`, else to the files of its members. What was
/// unpacked before an error is in `contents`.
///
/// # Errors
/// [`UnpackError`]; also when the layer could not be read.
pub(super) fn unpack(
    layer: impl Read,
    packing: LayerPacking,
    path: &str,
    spool: &mut Spool,
    contents: &mut UnpackedLayer,
) -> Result<(), UnpackError> {
    let plain = compressed::reader(layer, packing.compression);
    let allowed = Rc::new(Cell::new(0));
    let most = spool.room();
    let mut bounded = BoundedReader { inner: plain, allowed: Rc::clone(&allowed) };
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
        allowed.set(MOST_HEADERS);
        let Some(entry) = entries.next() else { return Ok(()) };
        let mut entry = entry.map_err(damaged)?;
        members += 1;
        if members > MOST_MEMBERS {
            return Err(UnpackError::Damaged(format!("it has more than {MOST_MEMBERS} members")));
        }
        // What is refused is read as well, to get behind it.
        if entry.size() > spool.room() {
            return Err(UnpackError::TooLarge(most));
        }
        allowed.set(entry.size().saturating_add(MOST_HEADERS));
        if let Some(path) = contents.accept(&mut entry)? {
            let (start, expected) = (spool.len(), entry.size());
            copy(&mut entry, spool)?;
            let bytes = spool.len() - start;
            if bytes != expected {
                return Err(UnpackError::Damaged(format!(
                    "it ends in the middle of {}",
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
        if self.refused.len() < MOST_TOLD {
            self.refused.push(what);
        }
    }

    /// The path of a member that is a file of the model; `None`: it is a directory, or refused.
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
            self.refuse(format!("the name {shown} is not in UTF-8"));
            return Ok(None);
        };
        // As `tar` writes what lies in the directory that it is given as `.`.
        Ok(Some(name.strip_prefix("./").unwrap_or(&name).to_owned()))
    }
}

/// Whether its data are those of a sparse file (as GNU tar writes it in pax archives): a map, and pieces.
fn is_sparse<R: Read>(entry: &mut Entry<'_, R>) -> Result<bool, UnpackError> {
    let Some(extensions) = entry.pax_extensions().map_err(damaged)? else { return Ok(false) };
    let mut sparse = false;
    for extension in extensions {
        sparse |= extension.map_err(damaged)?.key_bytes().starts_with(b"GNU.sparse.");
    }
    Ok(sparse)
}

fn copy(from: &mut impl Read, spool: &mut Spool) -> Result<(), UnpackError> {
    let most = spool.len() + spool.room();
    let mut buffer = vec![0; COPY];
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(damaged(error)),
        };
        spool.write_all(&buffer[..got]).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => UnpackError::TooLarge(most),
            _ => UnpackError::Spool(error),
        })?;
    }
}

fn damaged(error: io::Error) -> UnpackError {
    UnpackError::Damaged(format!("it cannot be unpacked: {error}"))
}

/// Ends with an error when more is read than is allowed at the time: so that nothing that an archive says
/// of itself is kept without bound.
struct BoundedReader<R> {
    inner: R,
    allowed: Rc<Cell<u64>>,
}

impl<R: Read> Read for BoundedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = self.allowed.get();
        if allowed == 0 && !buffer.is_empty() {
            return Err(io::Error::other("a header in it is too long"));
        }
        let len = buffer.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        let got = self.inner.read(&mut buffer[..len])?;
        self.allowed.set(allowed - got as u64);
        Ok(got)
    }
}

#[cfg(test)]
mod tests;
