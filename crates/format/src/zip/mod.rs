//! Reads zip archives as `torch.save` and `numpy.savez` write them. The directory is compared with the local headers
//! of the members, and every byte of the file must belong to something.
//!
//! No crate is used because they read what they need and ignore the rest. If two readers of an archive see
//! different members (one uses the directory, another the local headers, a third the first of two entries), a
//! scanner may see something else than the loader. This reader reports every such contradiction.

mod central;
mod end;
mod error;
mod fields;
mod local;
mod member;
mod read_buffer;

pub use error::{NoChecksums, ZipError};

use super::file::{self, OpenedFile};
use super::problem::BoundedErrors;
use super::tensor::ChecksummedRange;
use central::CentralEntry;
use end::DirectoryLocation;
use local::LocatedMember;
use read_buffer::ReadBuffer;
use std::collections::HashSet;
use std::io;
use tensorseal_base::display::display_name as shown;

/// The compression method of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionMethod {
    /// Stored uncompressed.
    Stored,
    /// Compressed with DEFLATE.
    Deflated,
}

/// A file in an archive.
#[derive(Debug, Clone)]
pub struct ZipMember {
    /// The path in the archive.
    pub name: String,
    /// The compression method.
    pub method: CompressionMethod,
    /// The CRC-32 of the data, or `None` if the archive has no checksums.
    pub crc32: Option<u32>,
    /// The length of the data in bytes.
    pub bytes: u64,
    /// The bytes of the file that hold the data as stored, half-open.
    pub range: [u64; 2],
}

/// A parsed archive.
#[derive(Debug, Default)]
pub struct ZipArchive {
    /// The members that can be read, in the order of the directory. Of several members with the same name, only the
    /// first is listed.
    pub members: Vec<ZipMember>,
    /// Whether the directory could be read.
    pub readable: bool,
    /// The errors of the archive, at most a few of each kind.
    pub errors: BoundedErrors<ZipError>,
}

impl ZipArchive {
    /// Whether the archive has no checksums.
    pub fn has_no_checksums(&self) -> bool {
        self.members.iter().any(|member| member.crc32.is_none())
    }

    /// The ranges with a stated checksum, in order.
    pub fn checksums(&self) -> Vec<ChecksummedRange> {
        let stored =
            self.members.iter().filter(|member| member.method == CompressionMethod::Stored);
        let mut checksums: Vec<ChecksummedRange> = stored
            .filter_map(|member| {
                let crc32 = member.crc32?;
                Some(ChecksummedRange { name: member.name.clone(), range: member.range, crc32 })
            })
            .collect();
        checksums.sort_by_key(|checksum| checksum.range);
        // Members that share bytes were reported; each byte is checked only once.
        let mut end = 0;
        checksums.retain(|checksum| {
            let is_disjoint = checksum.range[0] >= end;
            end = end.max(checksum.range[1]);
            is_disjoint
        });
        checksums
    }
}

/// The start of every local header, and of most archives.
pub(crate) const START: &[u8; 4] = b"PK\x03\x04";
/// The start of an archive without members.
const EMPTY: &[u8; 4] = b"PK\x05\x06";

/// Whether these are the first bytes of an archive.
pub fn is_archive_start(bytes: &[u8]) -> bool {
    bytes.starts_with(START) || bytes.starts_with(EMPTY)
}

/// The start of the last record of every archive.
pub(crate) const END: &[u8; 4] = EMPTY;

/// Lists the names in the directory of an archive, or returns `None` if it cannot be read. The local headers are not
/// checked.
pub(crate) fn list(opened: &OpenedFile) -> io::Result<Option<Vec<String>>> {
    let listed = entries(opened, &mut BoundedErrors::default())?;
    Ok(listed.map(|(_, entries)| entries.into_iter().map(|entry| entry.name).collect()))
}

/// Reads the end and the directory of an archive. Returns `None` if they cannot be read.
fn entries(
    opened: &OpenedFile,
    errors: &mut BoundedErrors<ZipError>,
) -> io::Result<Option<(DirectoryLocation, Vec<CentralEntry>)>> {
    let Some(end) = end::find(opened, errors)? else { return Ok(None) };
    let [start, directory_end] = end.directory;
    // The length is at most 128 MiB and was checked against the file.
    let directory = file::read_at(&opened.file, start, (directory_end - start) as usize)?;
    let entries = central::parse(&directory, start, end.members, errors);
    Ok(entries.map(|entries| (end, entries)))
}

/// Reads and checks an archive.
///
/// # Errors
/// Returns an error if the file cannot be read. What is wrong with the archive is in [`ZipArchive::errors`].
pub fn read(opened: &OpenedFile) -> io::Result<ZipArchive> {
    let mut errors = BoundedErrors::default();
    let refused = |errors| Ok(ZipArchive { errors, ..ZipArchive::default() });
    let Some((end, entries)) = entries(opened, &mut errors)? else { return refused(errors) };
    let [start, directory_end] = end.directory;
    let mut entries: Vec<(usize, CentralEntry)> = entries.into_iter().enumerate().collect();
    // Sort by position in the file; entries with the same position keep the order of the directory.
    entries.sort_by_key(|(_, entry)| entry.offset);
    let mut window = ReadBuffer::new(opened);
    let mut located: Vec<(usize, LocatedMember)> = Vec::with_capacity(entries.len());
    let mut header_bytes = 0;
    for (position, entry) in entries {
        let member = local::locate(&mut window, entry, end.base, start, &mut errors)?;
        let Some(member) = member else { continue };
        // The headers together cannot be longer than the file. Otherwise many members could share a long header,
        // which would be read again for each of them.
        header_bytes += member.data[0] - member.header;
        if header_bytes > opened.identity.bytes
            && let Some((_, other)) = located.last()
        {
            errors.push(ZipError::Overlap {
                member: member.entry.name,
                other: other.entry.name.clone(),
                range: [member.header, member.data[0]],
            });
            return refused(errors);
        }
        located.push((position, member));
    }
    if located.is_empty() && end.base > 0 {
        // No member is at its shifted position, so the position of the directory is wrong.
        let mut errors = BoundedErrors::default();
        let (start, bytes) = (start - end.base, directory_end - start);
        errors.push(ZipError::DirectoryPlace { start, bytes });
        return refused(errors);
    }
    // A member without a header causes a gap, which is not reported as a second fault.
    if located.len() as u64 == end.members || errors.is_empty() {
        check_coverage(&located, end.base, start, &mut errors);
    }
    located.sort_by_key(|(position, _)| *position);
    let members = members(located.into_iter().map(|(_, member)| member), &mut errors);
    Ok(ZipArchive { members, readable: true, errors })
}

/// Checks that the members cover the file from the start of the archive to its directory, each byte once.
fn check_coverage(
    located: &[(usize, LocatedMember)],
    base: u64,
    directory: u64,
    errors: &mut BoundedErrors<ZipError>,
) {
    let mut cursor = base;
    for (at, (_, member)) in located.iter().enumerate() {
        let next = located.get(at + 1).map_or(directory, |(_, next)| next.header);
        if member.header > cursor {
            let range = [cursor, member.header];
            errors.push(match cursor == 0 {
                true => ZipError::Prefix { range },
                false => ZipError::Gap { range },
            });
        } else if member.header < cursor && at > 0 {
            let other = located[at - 1].1.entry.name.clone();
            let range = [member.header, cursor.min(member.data[1])];
            errors.push(ZipError::Overlap { member: member.entry.name.clone(), other, range });
        }
        let data_end = member.data[1];
        let lens = &member.descriptor_lens;
        let fitting = lens.iter().find(|len| data_end + **len == next);
        cursor = cursor.max(data_end + fitting.or(lens.first()).unwrap_or(&0));
    }
    if cursor < directory {
        let range = [cursor, directory];
        errors.push(match located.is_empty() {
            true => ZipError::Prefix { range },
            false => ZipError::Gap { range },
        });
    } else if cursor > directory
        && let Some((_, last)) = located.last()
    {
        errors.push(ZipError::PastEnd { member: last.entry.name.clone(), end: cursor });
    }
}

/// Collects the members that can be read.
fn members(
    located: impl Iterator<Item = LocatedMember>,
    errors: &mut BoundedErrors<ZipError>,
) -> Vec<ZipMember> {
    let mut names = HashSet::new();
    let mut members = Vec::new();
    for LocatedMember { entry, data, .. } in located {
        if let Some(what) = entry.bad_name() {
            errors.push(ZipError::Name { member: entry.name, what });
            continue;
        }
        if !names.insert(entry.raw_name.clone()) {
            errors.push(ZipError::Duplicate { member: entry.name });
            continue;
        }
        let method = match entry.method {
            0 => CompressionMethod::Stored,
            8 => CompressionMethod::Deflated,
            method => {
                errors.push(ZipError::Method { member: entry.name, method });
                continue;
            }
        };
        if method == CompressionMethod::Stored && entry.bytes != entry.stored {
            let (bytes, stored) = (entry.bytes, entry.stored);
            errors.push(ZipError::StoredSize { member: entry.name, bytes, stored });
            continue;
        }
        if entry.flags & 1 != 0 {
            continue;
        }
        members.push(ZipMember {
            name: entry.name,
            method,
            crc32: Some(entry.crc32),
            bytes: entry.bytes,
            range: data,
        });
    }
    // A checksum is zero by chance once in 2^32. A writer that omits checksums omits all of them.
    let has_bytes = |member: &&ZipMember| member.bytes > 0;
    let mut filled = members.iter().filter(has_bytes).peekable();
    if filled.peek().is_some() && filled.all(|member| member.crc32 == Some(0)) {
        members.iter_mut().for_each(|member| member.crc32 = None);
    }
    members
}
