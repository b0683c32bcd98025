//! One file of a model.

use super::class::{FileContent, Format};
use super::file;
use super::identity::FileIdentity;
use super::links::LinkTarget;
use super::location::Location;
use super::problem::SkipReason;
use super::tensor::{BigEndianRange, ChecksummedRange};

/// One file of a model.
#[derive(Debug, Clone)]
pub struct ModelFile {
    /// Path relative to the root, components separated by `/`. UTF-8.
    pub path: String,
    /// Where the bytes are (a link is resolved).
    pub location: Location,
    /// Length in bytes.
    pub bytes: u64,
    /// What identified the file when it was opened.
    pub identity: FileIdentity,
    /// What it holds.
    pub kind: FileKind,
    /// What its bytes are, and what part it plays. Of files [beside](ModelFile::beside) the model, too.
    pub content: FileContent,
    /// The symbolic link that it was reached through: of several, the one that leads farthest.
    pub link: Option<LinkTarget>,
    /// Why it is not part of the model, though a signature of the model's files covers it
    /// ([`super::OpenOptions::list_beside`]): it is digested when files are, and goes into no seal, root or count.
    pub signed_only: Option<SkipReason>,
    /// Its container format, of a file of tensors (or what should be one).
    pub format: Option<Format>,
    /// Tensors that it holds and that are not read, of types or kinds that are known by name alone, beside those
    /// that are: under the names that they would have in [`Checkpoint::tensors`](super::Checkpoint::tensors).
    pub unread: Vec<String>,
    /// Stretches whose checksum the file states, in order: the members of a zip archive.
    pub checksums: Vec<ChecksummedRange>,
    /// Stretches in big-endian byte order, in order: they are read as if they were little-endian.
    pub big_endian: Vec<BigEndianRange>,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Tensors; everything outside their ranges (header, gaps) is covered separately.
    Tensors,
    /// Tensors by its name, but its layout could not be read: see [`Checkpoint::problems`](super::Checkpoint::problems).
    Damaged,
    /// Anything else: covered whole.
    Other,
}

/// A part of a file of a model that the caller knows to be small; `None` as above.
pub fn read_range(it: &ModelFile, offset: u64, bytes: u64) -> Option<Vec<u8>> {
    let opened = file::open(&it.location).ok()?;
    if opened.identity != it.identity || offset.checked_add(bytes)? > it.bytes {
        return None;
    }
    file::read_at(&opened.file, offset, usize::try_from(bytes).ok()?).ok()
}
