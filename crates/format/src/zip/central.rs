//! Parses the central directory of a zip archive.

use super::end::CENTRAL;
use super::error::ZipError;
use super::fields::{Fields, Sizes, extra};
use crate::problem::BoundedErrors;

/// The entry of a member in the central directory.
#[derive(Debug, Clone)]
pub(super) struct CentralEntry {
    /// The name, with replacement characters for what is not UTF-8.
    pub name: String,
    /// The bytes of the name.
    pub raw_name: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    pub crc32: u32,
    /// The length of the data.
    pub bytes: u64,
    /// The length of the data as stored.
    pub stored: u64,
    /// The position of the local header, relative to the start of the archive.
    pub offset: u64,
}

/// Parses a directory that starts at byte `start` of the file. Returns `None` if it is damaged.
pub(super) fn parse(
    directory: &[u8],
    start: u64,
    stated: u64,
    errors: &mut BoundedErrors<ZipError>,
) -> Option<Vec<CentralEntry>> {
    let mut fields = Fields(directory);
    let mut entries = Vec::new();
    while !fields.0.is_empty() {
        let at = start + (directory.len() - fields.0.len()) as u64;
        match entry(&mut fields, errors) {
            Some(entry) => entries.push(entry),
            None => {
                errors.push(ZipError::Directory { at });
                return None;
            }
        }
    }
    let listed = entries.len() as u64;
    if listed != stated {
        errors.push(ZipError::Count { stated, listed });
    }
    Some(entries)
}

fn entry(fields: &mut Fields<'_>, errors: &mut BoundedErrors<ZipError>) -> Option<CentralEntry> {
    if fields.bytes(4)? != CENTRAL {
        return None;
    }
    fields.bytes(4)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.bytes(4)?;
    let crc32 = fields.u32()?;
    let (stored, bytes) = (fields.u32()?.into(), fields.u32()?.into());
    let (name_len, extra_len, comment_len) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let disk = fields.u16()?;
    fields.bytes(6)?;
    let offset = fields.u32()?.into();
    let raw_name = fields.bytes(name_len.into())?.to_vec();
    let extra_bytes = fields.bytes(extra_len.into())?;
    fields.bytes(comment_len.into())?;
    let name = String::from_utf8_lossy(&raw_name).into_owned();
    let member = || name.clone();
    let extra = extra(extra_bytes).unwrap_or_else(|| {
        errors.push(ZipError::Extra { member: member() });
        Default::default()
    });
    if extra.name.is_some_and(|other| other != raw_name) {
        errors.push(ZipError::LocalName {
            member: member(),
            local: String::from_utf8_lossy(extra.name.unwrap_or_default()).into_owned(),
        });
    }
    if disk != 0 && disk != u16::MAX {
        errors.push(ZipError::MultiDisk);
    }
    let narrow = Sizes { bytes, stored, offset: Some(offset) };
    let sizes = narrow.resolve(extra.zip64).unwrap_or_else(|| {
        errors.push(ZipError::Zip64 { what: format!("the size of a member '{}'", shown(&name)) });
        narrow
    });
    let (bytes, stored, offset) = (sizes.bytes, sizes.stored, sizes.offset.unwrap_or(offset));
    Some(CentralEntry { name, raw_name, flags, method, crc32, bytes, stored, offset })
}

fn shown(name: &str) -> String {
    tensorseal_base::display::display_name(name)
}

impl CentralEntry {
    /// The reason why the name is refused, if there is one.
    pub(super) fn bad_name(&self) -> Option<&'static str> {
        let name = &self.raw_name;
        if std::str::from_utf8(name).is_err() {
            Some("it is not UTF-8")
        } else if name.is_empty() {
            Some("it is empty")
        } else if name.contains(&0) {
            Some("it contains a NUL character, which ends the name for some readers")
        } else if name.contains(&b'\\') {
            Some("it contains a backslash")
        } else if name[0] == b'/' || name.get(1) == Some(&b':') {
            Some("it is absolute")
        } else if name.split(|byte| *byte == b'/').any(|part| part == b"..") {
            Some("it contains '..'")
        } else {
            None
        }
    }
}
