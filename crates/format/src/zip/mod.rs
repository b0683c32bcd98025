//! Zip archives, as `torch.save` and `numpy.savez` write them: the directory is read and held against
//! the headers of the members, and every byte of the file must belong to something.
//!
//! A reader of our own, and a strict one: that two readers of one archive see different members (one
//! goes by the directory, another by the headers, a third takes the first of two) is what lets a scanner
//! see something else than the loader does. Crates read what they need and pass over the rest.

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

/// How the data of a member are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionMethod {
    /// As they are.
    Stored,
    /// Compressed by DEFLATE.
    Deflated,
}

/// A file in an archive.
#[derive(Debug, Clone)]
pub struct ZipMember {
    /// Its path in the archive.
    pub name: String,
    pub method: CompressionMethod,
    /// CRC-32 of its data; `None`: the archive records none.
    pub crc32: Option<u32>,
    /// Length of its data.
    pub bytes: u64,
    /// The bytes of the file that hold its data, as stored.
    pub range: [u64; 2],
}

/// What an archive was found to hold.
#[derive(Debug, Default)]
pub struct ZipArchive {
    /// Members that can be read, in the order of the directory; of several with one name the first.
    pub members: Vec<ZipMember>,
    /// Whether the directory could be read.
    pub readable: bool,
    pub errors: BoundedErrors<ZipError>,
}

impl ZipArchive {
    /// Whether a writer left the checksums of all members out.
    pub fn has_no_checksums(&self) -> bool {
        self.members.iter().any(|member| member.crc32.is_none())
    }

    /// The stretches whose checksum the directory states, in order.
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
        // Of members that share bytes, which was told of, each byte counts for one.
        let mut end = 0;
        checksums.retain(|checksum| {
            let is_apart = checksum.range[0] >= end;
            end = end.max(checksum.range[1]);
            is_apart
        });
        checksums
    }
}

/// What every member begins with, and so do most archives.
pub(crate) const START: &[u8; 4] = b"PK\x03\x04";
/// What an archive without members is.
const EMPTY: &[u8; 4] = b"PK\x05\x06";

/// Whether these are the first bytes of an archive.
pub fn is_archive_start(bytes: &[u8]) -> bool {
    bytes.starts_with(START) || bytes.starts_with(EMPTY)
}

/// What the last record of every archive begins with.
pub(crate) const END: &[u8; 4] = EMPTY;

/// The names that the directory of an archive lists; `None`: it cannot be read. Headers of members are not
/// looked at.
pub(crate) fn list(opened: &OpenedFile) -> io::Result<Option<Vec<String>>> {
    let listed = entries(opened, &mut BoundedErrors::default())?;
    Ok(listed.map(|(_, entries)| entries.into_iter().map(|entry| entry.name).collect()))
}

/// The end of an archive, and what its directory lists. `None`: nothing can be read.
fn entries(
    opened: &OpenedFile,
    errors: &mut BoundedErrors<ZipError>,
) -> io::Result<Option<(DirectoryLocation, Vec<CentralEntry>)>> {
    let Some(end) = end::find(opened, errors)? else { return Ok(None) };
    let [start, directory_end] = end.directory;
    // At most 128 MiB, and known to be in the file.
    let directory = file::read_at(&opened.file, start, (directory_end - start) as usize)?;
    let entries = central::parse(&directory, start, end.members, errors);
    Ok(entries.map(|entries| (end, entries)))
}

/// Reads and checks an archive.
pub fn read(opened: &OpenedFile) -> io::Result<ZipArchive> {
    let mut errors = BoundedErrors::default();
    let refused = |errors| Ok(ZipArchive { errors, ..ZipArchive::default() });
    let Some((end, entries)) = entries(opened, &mut errors)? else { return refused(errors) };
    let [start, directory_end] = end.directory;
    let mut entries: Vec<(usize, CentralEntry)> = entries.into_iter().enumerate().collect();
    // In the order of the file; those of one place in the order of the directory.
    entries.sort_by_key(|(_, entry)| entry.offset);
    let mut window = ReadBuffer::new(opened);
    let mut located: Vec<(usize, LocatedMember)> = Vec::with_capacity(entries.len());
    let mut header_bytes = 0;
    for (position, entry) in entries {
        let found = local::locate(&mut window, entry, end.base, start, &mut errors)?;
        let Some(found) = found else { continue };
        // More than there can be: a long header of very many members would be read for each of them.
        header_bytes += found.data[0] - found.header;
        if header_bytes > opened.identity.bytes
            && let Some((_, other)) = located.last()
        {
            errors.push(ZipError::Overlap {
                member: found.entry.name,
                other: other.entry.name.clone(),
                range: [found.header, found.data[0]],
            });
            return refused(errors);
        }
        located.push((position, found));
    }
    if located.is_empty() && end.base > 0 {
        // Nothing is where it would be with bytes before the archive: the place is wrong.
        let mut errors = BoundedErrors::default();
        let (start, bytes) = (start - end.base, directory_end - start);
        errors.push(ZipError::DirectoryPlace { start, bytes });
        return refused(errors);
    }
    // A member whose header was not found leaves a gap behind: that is no second fault.
    if located.len() as u64 == end.members || errors.is_empty() {
        check_coverage(&located, end.base, start, &mut errors);
    }
    located.sort_by_key(|(position, _)| *position);
    let members = members(located.into_iter().map(|(_, found)| found), &mut errors);
    Ok(ZipArchive { members, readable: true, errors })
}

/// Whether the members fill the file from the start of the archive to its directory, each byte once.
fn check_coverage(
    located: &[(usize, LocatedMember)],
    base: u64,
    directory: u64,
    errors: &mut BoundedErrors<ZipError>,
) {
    let mut cursor = base;
    for (at, (_, found)) in located.iter().enumerate() {
        let next = located.get(at + 1).map_or(directory, |(_, next)| next.header);
        if found.header > cursor {
            let range = [cursor, found.header];
            errors.push(match cursor == 0 {
                true => ZipError::Prefix { range },
                false => ZipError::Gap { range },
            });
        } else if found.header < cursor && at > 0 {
            let other = located[at - 1].1.entry.name.clone();
            let range = [found.header, cursor.min(found.data[1])];
            errors.push(ZipError::Overlap { member: found.entry.name.clone(), other, range });
        }
        let data_end = found.data[1];
        let fits = found.behind.iter().find(|length| data_end + **length == next);
        cursor = cursor.max(data_end + fits.or(found.behind.first()).unwrap_or(&0));
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

/// The members that can be read.
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
    // By chance one is zero once in 2^32: a writer that leaves them out leaves all of them out.
    let has_bytes = |member: &&ZipMember| member.bytes > 0;
    let mut filled = members.iter().filter(has_bytes).peekable();
    if filled.peek().is_some() && filled.all(|member| member.crc32 == Some(0)) {
        members.iter_mut().for_each(|member| member.crc32 = None);
    }
    members
}
