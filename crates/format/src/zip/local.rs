//! The header that every member has before its data, held against what the directory says.

use super::central::CentralEntry;
use super::error::ZipError;
use super::fields::{Fields, Sizes, extra};
use super::read_buffer::ReadBuffer;
use crate::problem::BoundedErrors;
use std::io;

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const LOCAL_LEN: usize = 30;
/// Sizes and checksum follow the data.
const DESCRIBED_BEHIND: u16 = 1 << 3;
/// Encrypted, encrypted more strongly, directory encrypted.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;

/// Where the parts of a member lie in the file.
#[derive(Debug)]
pub(super) struct LocatedMember {
    pub entry: CentralEntry,
    pub header: u64,
    pub data: [u64; 2],
    /// How long what follows its data may be; empty: nothing does.
    pub behind: Vec<u64>,
}

/// Reads the header of a member. `limit` is where the directory begins.
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
    // From its start again: what is read anew then holds headers that overlap it, too.
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
    let described_behind = (local.flags | entry.flags) & DESCRIBED_BEHIND != 0;
    let narrow = Sizes { bytes: local.bytes.into(), stored: local.stored.into(), offset: None };
    let agree = match narrow.resolve(extra.zip64) {
        Some(Sizes { bytes: 0, stored: 0, .. }) if described_behind => true,
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
    if local.crc32 != entry.crc32 && !(described_behind && local.crc32 == 0) {
        errors.push(ZipError::LocalChecksum { member: member() });
    }
    let mut behind = Vec::new();
    if described_behind {
        let bytes = window.read(end, (limit - end).min(24) as usize)?;
        behind = descriptors(bytes, &entry);
        if behind.is_empty() {
            errors.push(ZipError::LocalSize { member: member() });
            // Whatever it is, it is no gap.
            behind = vec![24, 16, 20, 12];
        }
    }
    Ok(Some(LocatedMember { entry, header: at, data: [data, end], behind }))
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

/// Lengths of the descriptors that `bytes` can be the start of: with or without a signature, with
/// sizes of either width. All say what the directory says.
fn descriptors(bytes: &[u8], entry: &CentralEntry) -> Vec<u64> {
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
