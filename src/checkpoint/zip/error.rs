//! What can be wrong with a zip archive.

use crate::checkpoint::display::quoted;
use crate::checkpoint::problem::Named;
use crate::severity::Severity;

/// Most members of one archive.
pub const MAX_MEMBERS: u64 = 1_000_000;
/// Longest central directory.
pub const MAX_DIRECTORY: u64 = 128 << 20;

/// A fault of an archive. Ranges are bytes of the file, half-open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZipError {
    #[error("is no whole zip archive: it has no end record (cut off, or another kind of file)")]
    NoEnd,
    #[error("bytes {} to {} of the file follow the end of its zip archive", range[0], range[1])]
    Trailing { range: [u64; 2] },
    #[error("its zip archive has a comment, bytes {} to {} of the file", range[0], range[1])]
    Comment { range: [u64; 2] },
    #[error("its zip archive says that it is one part of several")]
    MultiDisk,
    #[error("its zip archive states {what} in two ways that contradict each other")]
    Zip64 { what: String },
    #[error(
        "its zip archive states a directory of {bytes} bytes at byte {start}, which does not lie \
         before its end record"
    )]
    DirectoryPlace { start: u64, bytes: u64 },
    #[error(
        "its zip archive has more than {MAX_MEMBERS} members or a directory of more than \
         {MAX_DIRECTORY} bytes"
    )]
    TooMany,
    #[error("the directory of its zip archive is not one at byte {at} of the file")]
    Directory { at: u64 },
    #[error("its zip archive states {stated} members, but its directory lists {listed}")]
    Count { stated: u64, listed: u64 },
    #[error(
        "bytes {} to {} of the file stand before its zip archive: it is another kind of file, too",
        range[0], range[1]
    )]
    Prefix { range: [u64; 2] },
    #[error("bytes {} to {} of the file belong to no member of its zip archive", range[0], range[1])]
    Gap { range: [u64; 2] },
    #[error("members {} and {} of its zip archive share bytes {} to {} of the file",
        quoted(member), quoted(other), range[0], range[1])]
    Overlap { member: String, other: String, range: [u64; 2] },
    #[error(
        "member {} of its zip archive ends at byte {end} of the file, past its place",
        quoted(member)
    )]
    PastEnd { member: String, end: u64 },
    #[error("member {} of its zip archive has a name that leads elsewhere: {what}", quoted(member))]
    Name { member: String, what: &'static str },
    #[error(
        "member {} is in its zip archive twice: which of the two is loaded depends on the reader",
        quoted(member)
    )]
    Duplicate { member: String },
    #[error("member {} of its zip archive is encrypted", quoted(member))]
    Encrypted { member: String },
    #[error(
        "member {} of its zip archive is stored by method {method}; 0 (plain) is read",
        quoted(member)
    )]
    Method { member: String, method: u16 },
    #[error(
        "member {} of its zip archive is stored plainly and states {bytes} bytes of data that take \
         {stored}",
        quoted(member)
    )]
    StoredSize { member: String, bytes: u64, stored: u64 },
    #[error("member {} of its zip archive has extra fields that do not fit", quoted(member))]
    Extra { member: String },
    #[error("member {} of its zip archive has no header at byte {at} of the file", quoted(member))]
    NoLocal { member: String, at: u64 },
    #[error(
        "member {} of its zip archive is called {} in its own header",
        quoted(member),
        quoted(local)
    )]
    LocalName { member: String, local: String },
    #[error(
        "member {} of its zip archive is of method {central} in the directory and of {local} in its \
         own header",
        quoted(member)
    )]
    LocalMethod { member: String, central: u16, local: u16 },
    #[error("member {} of its zip archive has other sizes in its own header", quoted(member))]
    LocalSize { member: String },
    #[error("member {} of its zip archive has another checksum in its own header", quoted(member))]
    LocalChecksum { member: String },
    #[error("member {} of its zip archive has other flags in its own header", quoted(member))]
    LocalFlags { member: String },
    #[error(
        "member {} of its zip archive is compressed, so that it cannot be read in place; save it \
         uncompressed ({})",
        quoted(member),
        hint(member)
    )]
    Compressed { member: String, range: [u64; 2] },
    #[error(
        "member {} of its zip archive unpacks to more than it may: {stored} bytes become {bytes} \
         or more",
        quoted(member)
    )]
    Bomb { member: String, stored: u64, bytes: u64, range: [u64; 2] },
    #[error("member {} of its zip archive cannot be unpacked", quoted(member))]
    Damaged { member: String, range: [u64; 2] },
}

/// How a member of this kind comes to be stored plainly.
fn hint(member: &str) -> &'static str {
    match member.ends_with(".npy") {
        true => "numpy.savez instead of numpy.savez_compressed",
        false => "torch.load and torch.save do so",
    }
}

impl Named for ZipError {
    fn rule(&self) -> (&'static str, Severity) {
        use Severity::*;
        use ZipError::*;
        match self {
            NoEnd => ("format/zip-no-end", High),
            Trailing { .. } => ("format/zip-trailing-bytes", High),
            Comment { .. } => ("format/zip-comment", Medium),
            MultiDisk => ("format/zip-multi-disk", High),
            Zip64 { .. } => ("format/zip-zip64", High),
            DirectoryPlace { .. } => ("format/zip-directory-place", High),
            TooMany => ("format/zip-too-many-members", High),
            Directory { .. } => ("format/zip-directory", High),
            Count { .. } => ("format/zip-count", High),
            Prefix { .. } => ("format/zip-prefix", High),
            Gap { .. } => ("format/zip-gap", High),
            Overlap { .. } => ("format/zip-overlap", High),
            PastEnd { .. } => ("format/zip-past-end", High),
            Name { .. } => ("format/zip-name", High),
            Duplicate { .. } => ("format/zip-duplicate-member", Critical),
            Encrypted { .. } => ("format/zip-encrypted", High),
            Method { .. } => ("format/zip-method", High),
            StoredSize { .. } => ("format/zip-stored-size", High),
            Extra { .. } => ("format/zip-extra", Medium),
            NoLocal { .. } => ("format/zip-no-local-header", High),
            LocalName { .. } => ("format/zip-local-name", Critical),
            LocalMethod { .. } => ("format/zip-local-method", High),
            LocalSize { .. } => ("format/zip-local-size", High),
            LocalChecksum { .. } => ("format/zip-local-checksum", High),
            LocalFlags { .. } => ("format/zip-local-flags", High),
            Compressed { .. } => ("format/zip-compressed", Medium),
            Bomb { .. } => ("format/zip-bomb", High),
            Damaged { .. } => ("format/zip-damaged-member", High),
        }
    }

    fn byte_range(&self) -> Option<[u64; 2]> {
        use ZipError::*;
        match self {
            Trailing { range }
            | Comment { range }
            | Prefix { range }
            | Gap { range }
            | Overlap { range, .. }
            | Compressed { range, .. }
            | Bomb { range, .. }
            | Damaged { range, .. } => Some(*range),
            Directory { at } | NoLocal { at, .. } => Some([*at, at.saturating_add(4)]),
            _ => None,
        }
    }
}

/// What is legal and worth a remark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its zip archive has no checksums recorded: damage shows by a seal alone")]
pub struct NoChecksums;

impl Named for NoChecksums {
    fn rule(&self) -> (&'static str, Severity) {
        ("format/zip-no-checksums", Severity::Info)
    }
}
