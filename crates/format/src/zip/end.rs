//! Parses the end records of a zip archive, which locate the central directory.

use super::error::{MAX_DIRECTORY, MAX_MEMBERS, ZipError};
use super::fields::Fields;
use crate::file::{self, OpenedFile};
use crate::problem::BoundedErrors;
use std::io;

const END: &[u8; 4] = b"PK\x05\x06";
const END_LEN: u64 = 22;
const ZIP64_END: &[u8; 4] = b"PK\x06\x06";
const ZIP64_END_LEN: u64 = 56;
const LOCATOR: &[u8; 4] = b"PK\x06\x07";
const LOCATOR_LEN: u64 = 20;
pub(super) const CENTRAL: &[u8; 4] = b"PK\x01\x02";

/// The location of the central directory.
#[derive(Debug)]
pub(super) struct DirectoryLocation {
    /// The number of members.
    pub members: u64,
    /// The bytes of the file that hold the directory, half-open.
    pub directory: [u64; 2],
    /// The start of the archive in the file. All offsets are relative to it.
    pub base: u64,
}

/// The values of an end record with 32-bit or 64-bit fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EndRecord {
    disk: u64,
    directory_disk: u64,
    members_here: u64,
    members: u64,
    bytes: u64,
    start: u64,
}

/// Finds and checks the end records. Returns `None` if the archive cannot be read.
pub(super) fn find(
    opened: &OpenedFile,
    errors: &mut BoundedErrors<ZipError>,
) -> io::Result<Option<DirectoryLocation>> {
    let file_bytes = opened.identity.bytes;
    let tail_bytes = file_bytes.min(END_LEN + u64::from(u16::MAX));
    let tail_start = file_bytes - tail_bytes;
    let tail = file::read_at(&opened.file, tail_start, tail_bytes as usize)?;
    let Some(at) = last_end(&tail) else {
        errors.push(ZipError::NoEnd);
        return Ok(None);
    };
    let record = &tail[at..];
    let end_start = tail_start + at as u64;
    let Some((narrow, comment)) = parse_end(record) else {
        errors.push(ZipError::NoEnd);
        return Ok(None);
    };
    let comment_start = end_start + END_LEN;
    let comment_end = comment_start + u64::from(comment);
    if comment_end < file_bytes {
        errors.push(ZipError::Trailing { range: [comment_end, file_bytes] });
    }
    if comment > 0 {
        errors.push(ZipError::Comment { range: [comment_start, comment_end.min(file_bytes)] });
    }
    let (stated, directory_end) = match zip64(opened, end_start, &narrow, errors)? {
        Zip64::None => (narrow, end_start),
        Zip64::Present(stated, start) => (stated, start),
        Zip64::Invalid => return Ok(None),
    };
    if stated.disk != 0 || stated.directory_disk != 0 || stated.members_here != stated.members {
        errors.push(ZipError::MultiDisk);
        return Ok(None);
    }
    if stated.members > MAX_MEMBERS || stated.bytes > MAX_DIRECTORY {
        errors.push(ZipError::TooMany);
        return Ok(None);
    }
    let EndRecord { members, bytes, start, .. } = stated;
    let misplaced = ZipError::DirectoryPlace { start, bytes };
    let Some(slack) = start.checked_add(bytes).and_then(|end| directory_end.checked_sub(end))
    else {
        errors.push(misplaced);
        return Ok(None);
    };
    if slack == 0 {
        return Ok(Some(DirectoryLocation { members, directory: [start, start + bytes], base: 0 }));
    }
    // The extra bytes are either before the archive, so that all offsets are shifted, or between the directory
    // and its end.
    let is_directory = |at: u64| -> io::Result<bool> {
        Ok(bytes >= 4 && file::read_at(&opened.file, at, 4)? == CENTRAL)
    };
    if is_directory(start)? {
        errors.push(ZipError::Gap { range: [start + bytes, directory_end] });
        Ok(Some(DirectoryLocation { members, directory: [start, start + bytes], base: 0 }))
    } else if is_directory(start + slack)? {
        errors.push(ZipError::Prefix { range: [0, slack] });
        let start = start + slack;
        Ok(Some(DirectoryLocation { members, directory: [start, start + bytes], base: slack }))
    } else {
        errors.push(misplaced);
        Ok(None)
    }
}

/// Finds the end record: the last one whose comment reaches to the end of the file, or else the last one.
fn last_end(tail: &[u8]) -> Option<usize> {
    let mut any = None;
    for at in (0..=tail.len().checked_sub(END_LEN as usize)?).rev() {
        if !tail[at..].starts_with(END) {
            continue;
        }
        let comment = usize::from(u16::from_le_bytes([tail[at + 20], tail[at + 21]]));
        let rest = tail.len() - at - END_LEN as usize;
        if comment == rest {
            return Some(at);
        }
        if any.is_none() && comment < rest {
            any = Some(at);
        }
    }
    any
}

fn parse_end(record: &[u8]) -> Option<(EndRecord, u16)> {
    let mut fields = Fields(record.get(4..)?);
    let mut small = || fields.u16().map(u64::from);
    let (disk, directory_disk, members_here, members) = (small()?, small()?, small()?, small()?);
    let (bytes, start) = (fields.u32()?.into(), fields.u32()?.into());
    let stated = EndRecord { disk, directory_disk, members_here, members, bytes, start };
    Some((stated, fields.u16()?))
}

enum Zip64 {
    None,
    /// The values of the record, and its position.
    Present(EndRecord, u64),
    Invalid,
}

/// Reads the 64-bit end record, if there is one or must be one.
fn zip64(
    opened: &OpenedFile,
    end_start: u64,
    narrow: &EndRecord,
    errors: &mut BoundedErrors<ZipError>,
) -> io::Result<Zip64> {
    let mut invalid = |what: &str| {
        errors.push(ZipError::Zip64 { what: what.to_owned() });
        Ok(Zip64::Invalid)
    };
    let is_required =
        narrow.members == 0xFFFF || narrow.bytes == 0xFFFF_FFFF || narrow.start == 0xFFFF_FFFF;
    let locator_start = end_start.checked_sub(LOCATOR_LEN);
    let locator = match locator_start {
        Some(at) => file::read_at(&opened.file, at, LOCATOR_LEN as usize)?,
        None => Vec::new(),
    };
    let Some(locator_start) = locator_start.filter(|_| locator.starts_with(LOCATOR)) else {
        // 65,535 members also fit into 16 bits.
        return match is_required && (narrow.bytes == 0xFFFF_FFFF || narrow.start == 0xFFFF_FFFF) {
            true => invalid("the position of its directory"),
            false => Ok(Zip64::None),
        };
    };
    let mut fields = Fields(&locator[4..]);
    let (Some(disk), Some(at), Some(disks)) = (fields.u32(), fields.u64(), fields.u32()) else {
        return invalid("its end record");
    };
    if disk != 0 || disks > 1 {
        errors.push(ZipError::MultiDisk);
        return Ok(Zip64::Invalid);
    }
    // The record ends where the locator begins. Bytes before the archive shift its position.
    let Some(start) = locator_start.checked_sub(ZIP64_END_LEN).filter(|start| at <= *start) else {
        return invalid("the position of its end record");
    };
    let record = file::read_at(&opened.file, start, ZIP64_END_LEN as usize)?;
    let Some((stated, length)) = parse_zip64(&record) else {
        return invalid("the position of its end record");
    };
    if length != ZIP64_END_LEN - 12 {
        return invalid("the length of its end record");
    }
    let agrees = |narrow: u64, wide: u64, sentinel: u64| narrow == sentinel || narrow == wide;
    if !agrees(narrow.members, stated.members, 0xFFFF)
        || !agrees(narrow.members_here, stated.members_here, 0xFFFF)
    {
        return invalid("the number of its members");
    }
    if !agrees(narrow.bytes, stated.bytes, 0xFFFF_FFFF)
        || !agrees(narrow.start, stated.start, 0xFFFF_FFFF)
    {
        return invalid("the position of its directory");
    }
    if at != start && stated.start.checked_add(stated.bytes).is_none_or(|end| end > at) {
        return invalid("the position of its end record");
    }
    Ok(Zip64::Present(stated, start))
}

fn parse_zip64(record: &[u8]) -> Option<(EndRecord, u64)> {
    let mut fields = Fields(record.strip_prefix(ZIP64_END)?);
    let length = fields.u64()?;
    fields.bytes(4)?;
    let (disk, directory_disk) = (fields.u32()?.into(), fields.u32()?.into());
    let (members_here, members) = (fields.u64()?, fields.u64()?);
    let (bytes, start) = (fields.u64()?, fields.u64()?);
    Some((EndRecord { disk, directory_disk, members_here, members, bytes, start }, length))
}
