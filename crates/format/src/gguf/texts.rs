//! Reads long texts in the metadata, such as chat templates, which the layout does not need.

use super::metadata::MAX_ENTRIES;
use super::reader::{ByteReader, Reader, Stop};
use super::{MAGIC, MAX_NESTING};
use crate::file::OpenedFile;
use crate::parsed_file::MetadataText;
use std::io;

/// The largest number of texts that are returned.
const MAX_TEXTS: usize = 256;
/// The longest key in bytes that is compared.
const MAX_KEY: u64 = 512;

/// Returns the texts whose key `is_wanted` accepts. For a damaged file these are the texts before the fault, which is
/// reported where the layout is parsed.
pub(super) fn texts(
    opened: &OpenedFile,
    is_wanted: &dyn Fn(&str) -> bool,
    max: u64,
) -> io::Result<Vec<MetadataText>> {
    read_texts(&opened.file, opened.identity.bytes, is_wanted, max)
}

fn read_texts(
    bytes: &dyn ByteReader,
    file_bytes: u64,
    is_wanted: &dyn Fn(&str) -> bool,
    max: u64,
) -> io::Result<Vec<MetadataText>> {
    let mut texts = Vec::new();
    let mut reader = Reader::new(bytes, file_bytes);
    match read(&mut reader, is_wanted, max, &mut texts) {
        Err(Stop::Io(error)) => Err(error),
        Err(Stop::Fault(_)) | Ok(None | Some(())) => Ok(texts),
    }
}

/// Reads the texts. Returns `None` if the position of the next entry is unknown.
fn read(
    reader: &mut Reader<'_>,
    is_wanted: &dyn Fn(&str) -> bool,
    max: u64,
    texts: &mut Vec<MetadataText>,
) -> Result<Option<()>, Stop> {
    if reader.array()? != MAGIC {
        return Ok(None);
    }
    let mut version = reader.u32()?;
    if version.trailing_zeros() >= 16 && version != 0 {
        version = version.swap_bytes();
        reader.big_endian = true;
    }
    reader.narrow = version == 1;
    let [_, entries] = [reader.length()?, reader.length()?];
    for _ in 0..entries.min(MAX_ENTRIES) {
        let length = reader.length()?;
        if length > reader.left() {
            return Ok(None);
        }
        let mut key = Vec::new();
        match length <= MAX_KEY {
            true => reader.each(length, |piece| key.extend_from_slice(piece))?,
            false => reader.skip(length),
        }
        let kind = reader.u32()?;
        let key = String::from_utf8_lossy(&key).into_owned();
        if kind != STRING || texts.len() == MAX_TEXTS || !is_wanted(&key) {
            if skip_value(reader, kind, 0)?.is_none() {
                return Ok(None);
            }
            continue;
        }
        let bytes = reader.length()?;
        if bytes > reader.left() {
            return Ok(None);
        }
        let mut value = None;
        match bytes <= max {
            true => {
                let text = value.insert(Vec::new());
                reader.each(bytes, |piece| text.extend_from_slice(piece))?;
            }
            false => reader.skip(bytes),
        }
        texts.push(MetadataText { key, bytes, value });
    }
    Ok(Some(()))
}

const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// The size in bytes of a value of a fixed-size type.
fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Skips a value. Returns `None` if its end is unknown.
fn skip_value(reader: &mut Reader<'_>, kind: u32, depth: u32) -> Result<Option<()>, Stop> {
    let bytes = match kind {
        STRING => reader.length()?,
        ARRAY if depth > MAX_NESTING => return Ok(None),
        ARRAY => {
            let (kind, count) = (reader.u32()?, reader.length()?);
            match width(kind) {
                Some(width) => match count.checked_mul(width) {
                    Some(bytes) => bytes,
                    None => return Ok(None),
                },
                // Each of these values takes at least some bytes of the file.
                None => {
                    for _ in 0..count {
                        if skip_value(reader, kind, depth + 1)?.is_none() {
                            return Ok(None);
                        }
                    }
                    0
                }
            }
        }
        other => match width(other) {
            Some(bytes) => bytes,
            None => return Ok(None),
        },
    };
    if bytes > reader.left() {
        return Ok(None);
    }
    reader.skip(bytes);
    Ok(Some(()))
}

#[cfg(test)]
mod tests {
    use super::super::reader::FilePrefix;
    use super::*;
    use proptest::prelude::*;

    fn string(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    fn file(entries: &[(&str, u32, Vec<u8>)]) -> Vec<u8> {
        let mut file = [b"GGUF".as_slice(), &3u32.to_le_bytes(), &0u64.to_le_bytes()].concat();
        file.extend((entries.len() as u64).to_le_bytes());
        for (key, kind, value) in entries {
            file.extend(string(key));
            file.extend(kind.to_le_bytes());
            file.extend(value);
        }
        file
    }

    fn all(file: &[u8], max: u64) -> Vec<MetadataText> {
        read_texts(&FilePrefix(file), file.len() as u64, &|key| key.starts_with("t."), max).unwrap()
    }

    #[test]
    fn wanted_texts_are_given_whatever_stands_before_them() {
        let tokens =
            [&8u32.to_le_bytes()[..], &2u64.to_le_bytes(), &string("a"), &string("b")].concat();
        let numbers = [&5u32.to_le_bytes()[..], &3u64.to_le_bytes(), &[0; 12]].concat();
        let entries = [
            ("x", STRING, string("no")),
            ("tokens", ARRAY, tokens),
            ("numbers", ARRAY, numbers),
            ("flag", 7, vec![1]),
            ("t.a", STRING, string("{{ a }}")),
            ("t.number", 4, vec![0; 4]),
            ("t.b", STRING, string("longer than is asked for")),
        ];
        let file = file(&entries);
        let found = all(&file, 10);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].value.as_deref(), Some(&b"{{ a }}"[..]));
        assert_eq!((found[1].value.as_ref(), found[1].bytes), (None, 24));
        // Cut anywhere, nothing is made up.
        for end in 0..file.len() {
            assert!(all(&file[..end], 10).len() <= 2);
        }
    }

    proptest! {
        #[test]
        fn never_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            kind in 0u32..14,
            value in prop::collection::vec(0u8..14, 0..60),
        ) {
            all(&bytes, 10);
            all(&file(&[("a", kind, value.clone()), ("t.b", kind, value)]), 10);
        }
    }
}
