//! The errors and remarks of zip archives.

use crate::problem::{ErrorLocation, StructureError, faults};
use tensorseal_base::display::quoted;
use tensorseal_base::severity::Severity;

/// The largest number of members in an archive.
pub(super) const MAX_MEMBERS: u64 = 1_000_000;
/// The longest central directory in bytes.
pub(super) const MAX_DIRECTORY: u64 = 128 << 20;

faults! {
    /// An error in a zip archive. Ranges are bytes of the file, half-open.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    pub enum ZipError {
        #[error("is not a complete zip archive: it has no end record (truncated, or not a zip file)")]
        NoEnd => ("format/zip-no-end", High),
        #[error("bytes {} to {} of the file follow the end of its zip archive", range[0], range[1])]
        Trailing { range: [u64; 2] } => ("format/zip-trailing-bytes", High),
        #[error("its zip archive has a comment, bytes {} to {} of the file", range[0], range[1])]
        Comment { range: [u64; 2] } => ("format/zip-comment", Medium),
        #[error("its zip archive is one part of a split archive, which is not supported")]
        MultiDisk => ("format/zip-multi-disk", High),
        #[error("its zip archive states {what} in two ways that contradict each other")]
        Zip64 { what: String } => ("format/zip-zip64", High),
        #[error(
            "its zip archive states a directory of {bytes} bytes at byte {start}, which does not end \
             at its end record"
        )]
        DirectoryPlace { start: u64, bytes: u64 } => ("format/zip-directory-place", High),
        #[error(
            "its zip archive has more than {MAX_MEMBERS} members or a directory of more than \
             {MAX_DIRECTORY} bytes"
        )]
        TooMany => ("format/zip-too-many-members", High),
        #[error("the directory of its zip archive is damaged at byte {at} of the file")]
        Directory { at: u64 } => ("format/zip-directory", High) at [*at, at.saturating_add(4)],
        #[error("its zip archive states {stated} members, but its directory lists {listed}")]
        Count { stated: u64, listed: u64 } => ("format/zip-count", High),
        #[error(
            "bytes {} to {} of the file come before its zip archive, so that the file has a second format",
            range[0], range[1]
        )]
        Prefix { range: [u64; 2] } => ("format/zip-prefix", High),
        #[error("bytes {} to {} of the file belong to no member of its zip archive", range[0], range[1])]
        Gap { range: [u64; 2] } => ("format/zip-gap", High),
        #[error("members {} and {} of its zip archive share bytes {} to {} of the file",
            quoted(member), quoted(other), range[0], range[1])]
        Overlap { member: String, other: String, range: [u64; 2] } => ("format/zip-overlap", High),
        #[error(
            "member {} of its zip archive ends at byte {end} of the file, past the start of the directory",
            quoted(member)
        )]
        PastEnd { member: String, end: u64 } => ("format/zip-past-end", High),
        #[error("member {} of its zip archive has an unsafe name: {what}", quoted(member))]
        Name { member: String, what: &'static str } => ("format/zip-name", High),
        #[error(
            "member {} is in its zip archive twice; it depends on the reader which one is loaded",
            quoted(member)
        )]
        Duplicate { member: String } => ("format/zip-duplicate-member", Critical),
        #[error("member {} of its zip archive is encrypted", quoted(member))]
        Encrypted { member: String } => ("format/zip-encrypted", High),
        #[error(
            "member {} of its zip archive uses compression method {method}; only 0 (stored) is supported",
            quoted(member)
        )]
        Method { member: String, method: u16 } => ("format/zip-method", High),
        #[error(
            "member {} of its zip archive is stored uncompressed, but states {bytes} bytes of data that take \
             {stored} bytes",
            quoted(member)
        )]
        StoredSize { member: String, bytes: u64, stored: u64 } => ("format/zip-stored-size", High),
        #[error("member {} of its zip archive has invalid extra fields", quoted(member))]
        Extra { member: String } => ("format/zip-extra", Medium),
        #[error("member {} of its zip archive has no local header at byte {at} of the file", quoted(member))]
        NoLocal { member: String, at: u64 }
            => ("format/zip-no-local-header", High) at [*at, at.saturating_add(4)],
        #[error(
            "member {} of its zip archive has the name {} in its local header",
            quoted(member),
            quoted(local)
        )]
        LocalName { member: String, local: String } => ("format/zip-local-name", Critical),
        #[error(
            "member {} of its zip archive uses method {central} in the directory, but method {local} in its \
             local header",
            quoted(member)
        )]
        LocalMethod { member: String, central: u16, local: u16 } => ("format/zip-local-method", High),
        #[error("member {} of its zip archive has different sizes in its local header", quoted(member))]
        LocalSize { member: String } => ("format/zip-local-size", High),
        #[error("member {} of its zip archive has a different checksum in its local header", quoted(member))]
        LocalChecksum { member: String } => ("format/zip-local-checksum", High),
        #[error("member {} of its zip archive has different flags in its local header", quoted(member))]
        LocalFlags { member: String } => ("format/zip-local-flags", High),
        #[error(
            "member {} of its zip archive is compressed and cannot be read in place; save it \
             uncompressed ({})",
            quoted(member),
            hint(member)
        )]
        Compressed { member: String, range: [u64; 2] } => ("format/zip-compressed", Medium),
        #[error(
            "member {} of its zip archive exceeds the size limit when it is unpacked: {stored} bytes become \
             {bytes} or more",
            quoted(member)
        )]
        Bomb { member: String, stored: u64, bytes: u64, range: [u64; 2] } => ("format/zip-bomb", High),
        #[error("member {} of its zip archive cannot be unpacked", quoted(member))]
        Damaged { member: String, range: [u64; 2] } => ("format/zip-damaged-member", High),
    }
}

/// How to write such a member uncompressed.
fn hint(member: &str) -> &'static str {
    match member.ends_with(".npy") {
        true => "use numpy.savez instead of numpy.savez_compressed",
        false => "use torch.load and torch.save",
    }
}

/// The remark that an archive has no checksums.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its zip archive has no checksums, so that only a seal can detect damage")]
pub struct NoChecksums;

impl StructureError for NoChecksums {
    fn rule(&self) -> (&'static str, Severity) {
        ("format/zip-no-checksums", Severity::Info)
    }
}
