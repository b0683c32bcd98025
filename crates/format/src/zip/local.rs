//! Compares the local header of each member with its entry in the directory.

use super::central::CentralEntry;
use super::error::ZipError;
use super::fields::{Fields, Sizes, extra};
use super::read_buffer::ReadBuffer;
use crate::problem::BoundedErrors;
use std::io;

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const LOCAL_LEN: usize = 30;
/// The flag for a data descriptor: sizes and checksum follow the data.
const HAS_DESCRIPTOR: u16 = 1 << 3;
/// The flags for encryption, strong encryption and an encrypted directory.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;

/// The positions of a member in the file.
#[derive(Debug)]
pub(super) struct LocatedMember {
    pub entry: CentralEntry,
    pub header: u64,
    pub data: [u64; 2],
    /// The possible lengths of the data descriptor; empty if there is none.
    pub descriptor_lens: Vec<u64>,
}

/// Reads and checks the local header of a member. `limit` is the start of the directory.
pub(super) fn locate(
    window: &mut ReadBuffer<'_>,
    entry: CentralEntry,
    base: u64,
    limit: u64,
    errors: &mut BoundedErrors<ZipError>,
) -> io::Result<Option<LocatedMember>> {
    let member = || entry.name.clone();
    let at = entry.offset.saturating_add(base);
    let available = limit.saturating_sub(at);
    if available < LOCAL_LEN as u64 {
        errors.push(ZipError::NoLocal { member: member(), at });
        return Ok(None);
    }
    let Some(local) = LocalHeader::parse(window.read(at, LOCAL_LEN)?) else {
        errors.push(ZipError::NoLocal { member: member(), at });
        return Ok(None);
    };
    let before = LOCAL_LEN + usize::from(local.name_len) + usize::from(local.extra_len);
    let data = at + before as u64;
    let end = data.saturating_add(entry.stored);
    if end > limit {
        errors.push(ZipError::PastEnd { member: member(), end });
        return Ok(None);
    }
    // Read from the start of the header again, so that the buffer also holds headers that overlap it.
    let header = window.read(at, before)?;
    let (name, extra_bytes) = header[LOCAL_LEN..].split_at(local.name_len.into());
    if name != entry.raw_name {
        let local = String::from_utf8_lossy(name).into_owned();
        errors.push(ZipError::LocalName { member: member(), local });
    }
    if (local.flags | entry.flags) & ENCRYPTED != 0 {
        errors.push(ZipError::Encrypted { member: member() });
    } else if local.flags != entry.flags {
        errors.push(ZipError::LocalFlags { member: member() });
    }
    if local.method != entry.method {
        errors.push(ZipError::LocalMethod {
            member: member(),
            central: entry.method,
            local: local.method,
        });
    }
    let extra = extra(extra_bytes).unwrap_or_else(|| {
        errors.push(ZipError::Extra { member: member() });
        Default::default()
    });
    if extra.name.is_some_and(|name| name != entry.raw_name) {
        let local = String::from_utf8_lossy(extra.name.unwrap_or_default()).into_owned();
        errors.push(ZipError::LocalName { member: member(), local });
    }
    let has_descriptor = (local.flags | entry.flags) & HAS_DESCRIPTOR != 0;
    let narrow = Sizes { bytes: local.bytes.into(), stored: local.stored.into(), offset: None };
    let agree = match narrow.resolve(extra.zip64) {
        Some(Sizes { bytes: 0, stored: 0, .. }) if has_descriptor => true,
        Some(sizes) => (sizes.bytes, sizes.stored) == (entry.bytes, entry.stored),
        None => {
            let what = format!("the size of a member '{}'", super::shown(&entry.name));
            errors.push(ZipError::Zip64 { what });
            true
        }
    };
    if !agree {
        errors.push(ZipError::LocalSize { member: member() });
    }
    if local.crc32 != entry.crc32 && !(has_descriptor && local.crc32 == 0) {
        errors.push(ZipError::LocalChecksum { member: member() });
    }
    let mut descriptor_lens = Vec::new();
    if has_descriptor {
        let bytes = window.read(end, (limit - end).min(24) as usize)?;
        descriptor_lens = find_descriptor_lens(bytes, &entry);
        if descriptor_lens.is_empty() {
            errors.push(ZipError::LocalSize { member: member() });
            // The mismatch was reported, so these bytes are not reported as a gap as well.
            descriptor_lens = vec![24, 16, 20, 12];
        }
    }
    Ok(Some(LocatedMember { entry, header: at, data: [data, end], descriptor_lens }))
}

struct LocalHeader {
    flags: u16,
    method: u16,
    crc32: u32,
    stored: u32,
    bytes: u32,
    name_len: u16,
    extra_len: u16,
}

impl LocalHeader {
    fn parse(start: &[u8]) -> Option<LocalHeader> {
        let mut fields = Fields(start.strip_prefix(LOCAL)?);
        fields.bytes(2)?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.bytes(4)?;
        let crc32 = fields.u32()?;
        let (stored, bytes) = (fields.u32()?, fields.u32()?);
        let (name_len, extra_len) = (fields.u16()?, fields.u16()?);
        Some(LocalHeader { flags, method, crc32, stored, bytes, name_len, extra_len })
    }
}

/// The lengths of the data descriptors that `bytes` may start with: with or without a signature, and with 32-bit
/// or 64-bit sizes. Only descriptors that match the directory count.
fn find_descriptor_lens(bytes: &[u8], entry: &CentralEntry) -> Vec<u64> {
    let mut lengths = Vec::new();
    for signed in [true, false] {
        for wide in [true, false] {
            let mut fields = Fields(bytes);
            if signed && fields.bytes(4) != Some(b"PK\x07\x08") {
                continue;
            }
            let crc32 = fields.u32();
            let mut size = || if wide { fields.u64() } else { fields.u32().map(u64::from) };
            let (stored, size) = (size(), size());
            if crc32 == Some(entry.crc32)
                && (stored, size) == (Some(entry.stored), Some(entry.bytes))
            {
                lengths.push((bytes.len() - fields.0.len()) as u64);
            }
        }
    }
    lengths
}
