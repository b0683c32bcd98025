//! What can be wrong with a zip archive.

use crate::problem::{ErrorLocation, StructureError, faults};
use tensorseal_base::display::quoted;
use tensorseal_base::severity::Severity;

/// Most members of one archive.
pub(super) const MAX_MEMBERS: u64 = 1_000_000;
/// Longest central directory.
pub(super) const MAX_DIRECTORY: u64 = 128 << 20;

faults! {
    /// A fault of an archive. Ranges are bytes of the file, half-open.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    pub enum ZipError {
        #[error("is no whole zip archive: it has no end record (cut off, or another kind of file)")]
        NoEnd => ("format/zip-no-end", High),
        #[error("bytes {} to {} of the file follow the end of its zip archive", range[0], range[1])]
        Trailing { range: [u64; 2] } => ("format/zip-trailing-bytes", High),
        #[error("its zip archive has a comment, bytes {} to {} of the file", range[0], range[1])]
        Comment { range: [u64; 2] } => ("format/zip-comment", Medium),
        #[error("its zip archive says that it is one part of several")]
        MultiDisk => ("format/zip-multi-disk", High),
        #[error("its zip archive states {what} in two ways that contradict each other")]
        Zip64 { what: String } => ("format/zip-zip64", High),
        #[error(
            "its zip archive states a directory of {bytes} bytes at byte {start}, which does not lie \
             before its end record"
        )]
        DirectoryPlace { start: u64, bytes: u64 } => ("format/zip-directory-place", High),
        #[error(
            "its zip archive has more than {MAX_MEMBERS} members or a directory of more than \
             {MAX_DIRECTORY} bytes"
        )]
        TooMany => ("format/zip-too-many-members", High),
        #[error("the directory of its zip archive is not one at byte {at} of the file")]
        Directory { at: u64 } => ("format/zip-directory", High) at [*at, at.saturating_add(4)],
        #[error("its zip archive states {stated} members, but its directory lists {listed}")]
        Count { stated: u64, listed: u64 } => ("format/zip-count", High),
        #[error(
            "bytes {} to {} of the file stand before its zip archive: it is another kind of file, too",
            range[0], range[1]
        )]
        Prefix { range: [u64; 2] } => ("format/zip-prefix", High),
        #[error("bytes {} to {} of the file belong to no member of its zip archive", range[0], range[1])]
        Gap { range: [u64; 2] } => ("format/zip-gap", High),
        #[error("members {} and {} of its zip archive share bytes {} to {} of the file",
            quoted(member), quoted(other), range[0], range[1])]
        Overlap { member: String, other: String, range: [u64; 2] } => ("format/zip-overlap", High),
        #[error(
            "member {} of its zip archive ends at byte {end} of the file, past its place",
            quoted(member)
        )]
        PastEnd { member: String, end: u64 } => ("format/zip-past-end", High),
        #[error("member {} of its zip archive has a name that leads elsewhere: {what}", quoted(member))]
        Name { member: String, what: &'static str } => ("format/zip-name", High),
        #[error(
            "member {} is in its zip archive twice: which of the two is loaded depends on the reader",
            quoted(member)
        )]
        Duplicate { member: String } => ("format/zip-duplicate-member", Critical),
        #[error("member {} of its zip archive is encrypted", quoted(member))]
        Encrypted { member: String } => ("format/zip-encrypted", High),
        #[error(
            "member {} of its zip archive is stored by method {method}; 0 (plain) is read",
            quoted(member)
        )]
        Method { member: String, method: u16 } => ("format/zip-method", High),
        #[error(
            "member {} of its zip archive is stored plainly and states {bytes} bytes of data that take \
             {stored}",
            quoted(member)
        )]
        StoredSize { member: String, bytes: u64, stored: u64 } => ("format/zip-stored-size", High),
        #[error("member {} of its zip archive has extra fields that do not fit", quoted(member))]
        Extra { member: String } => ("format/zip-extra", Medium),
        #[error("member {} of its zip archive has no header at byte {at} of the file", quoted(member))]
        NoLocal { member: String, at: u64 }
            => ("format/zip-no-local-header", High) at [*at, at.saturating_add(4)],
        #[error(
            "member {} of its zip archive is called {} in its own header",
            quoted(member),
            quoted(local)
        )]
        LocalName { member: String, local: String } => ("format/zip-local-name", Critical),
        #[error(
            "member {} of its zip archive is of method {central} in the directory and of {local} in its \
             own header",
            quoted(member)
        )]
        LocalMethod { member: String, central: u16, local: u16 } => ("format/zip-local-method", High),
        #[error("member {} of its zip archive has other sizes in its own header", quoted(member))]
        LocalSize { member: String } => ("format/zip-local-size", High),
        #[error("member {} of its zip archive has another checksum in its own header", quoted(member))]
        LocalChecksum { member: String } => ("format/zip-local-checksum", High),
        #[error("member {} of its zip archive has other flags in its own header", quoted(member))]
        LocalFlags { member: String } => ("format/zip-local-flags", High),
        #[error(
            "member {} of its zip archive is compressed, so that it cannot be read in place; save it \
             uncompressed ({})",
            quoted(member),
            hint(member)
        )]
        Compressed { member: String, range: [u64; 2] } => ("format/zip-compressed", Medium),
        #[error(
            "member {} of its zip archive unpacks to more than it may: {stored} bytes become {bytes} \
             or more",
            quoted(member)
        )]
        Bomb { member: String, stored: u64, bytes: u64, range: [u64; 2] } => ("format/zip-bomb", High),
        #[error("member {} of its zip archive cannot be unpacked", quoted(member))]
        Damaged { member: String, range: [u64; 2] } => ("format/zip-damaged-member", High),
    }
}

/// How a member of this kind comes to be stored plainly.
fn hint(member: &str) -> &'static str {
    match member.ends_with(".npy") {
        true => "numpy.savez instead of numpy.savez_compressed",
        false => "torch.load and torch.save do so",
    }
}

/// What is legal and worth a remark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its zip archive has no checksums recorded: damage shows by a seal alone")]
pub struct NoChecksums;

impl StructureError for NoChecksums {
    fn rule(&self) -> (&'static str, Severity) {
        ("format/zip-no-checksums", Severity::Info)
    }
}
