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
    /// The path relative to the root, in UTF-8, with components separated by `/`.
    pub path: String,
    /// The location of the bytes, with links resolved.
    pub location: Location,
    /// The length in bytes.
    pub bytes: u64,
    /// The identity of the file when it was opened.
    pub identity: FileIdentity,
    /// Whether the file holds tensors.
    pub kind: FileKind,
    /// The class of the content and the role of the file in the model. Also set for
    /// [signed-only](ModelFile::signed_only) files.
    pub content: FileContent,
    /// The target of the symbolic link that the file was reached through; of several links, the farthest target.
    pub link: Option<LinkTarget>,
    /// The reason why the file is not part of the model, if it is a signed-only file
    /// ([`super::OpenOptions::list_signed_only`]). Such a file is hashed like the others, but it is in no seal, root
    /// or count.
    pub signed_only: Option<SkipReason>,
    /// The container format, if this is a tensor file or should be one.
    pub format: Option<Format>,
    /// The tensors of unsupported types or kinds that the file holds among others, under the names that they would
    /// have in [`Checkpoint::tensors`](super::Checkpoint::tensors).
    pub unread: Vec<String>,
    /// The ranges with a stated checksum, in order: the members of a zip archive.
    pub checksums: Vec<ChecksummedRange>,
    /// The ranges with big-endian numbers, in order. They are read as if they were little-endian.
    pub big_endian: Vec<BigEndianRange>,
}

/// Whether a file holds tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// The file holds tensors. The bytes outside their ranges (header, padding) are covered separately.
    Tensors,
    /// The file should hold tensors, but its layout could not be read: see
    /// [`Checkpoint::problems`](super::Checkpoint::problems).
    Damaged,
    /// Any other file, which is covered as a whole.
    Other,
}

/// Reads `bytes` bytes of a file from `offset` on. The caller must limit `bytes`. Returns `None` if the range is
/// not in the file, or if the file cannot be read or has changed since the model was opened.
pub fn read_range(model_file: &ModelFile, offset: u64, bytes: u64) -> Option<Vec<u8>> {
    let opened = file::open(&model_file.location).ok()?;
    if opened.identity != model_file.identity || offset.checked_add(bytes)? > model_file.bytes {
        return None;
    }
    file::read_at(&opened.file, offset, usize::try_from(bytes).ok()?).ok()
}
