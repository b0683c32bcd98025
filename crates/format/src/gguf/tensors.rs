//! Reads the tensor entries of a GGUF file.

use super::error::GgufError;
use super::reader::{Reader, Stop};
use super::{MAX_DIMENSIONS, types};
use crate::problem::BoundedErrors;
use std::collections::HashMap;
use tensorseal_base::dtype::Dtype;

/// The longest name in bytes that llama.cpp accepts.
const MAX_LOADABLE_NAME: u64 = 63;
/// The longest name in bytes that is read.
const MAX_NAME: u64 = 65535;
/// The largest total size of all names in bytes.
const MAX_NAMES: u64 = 100_000_000;

/// The entry of a tensor. A member that could not be read is `None`, and its error was recorded.
#[derive(Debug)]
pub(super) struct TensorEntry {
    pub name: String,
    pub dtype: Option<Dtype>,
    /// The dimensions, outermost first: in reverse order of the file.
    pub shape: Vec<u64>,
    /// The start of the data, relative to the start of all data.
    pub offset: u64,
    /// The length of the data in bytes.
    pub bytes: Option<u64>,
    /// Whether a later entry has the same name.
    pub superseded: bool,
}

/// The smallest size of an entry in bytes.
pub(super) fn min_entry_bytes(reader: &Reader<'_>) -> u64 {
    reader.length_width() + 4 + 4 + 8
}

/// Reads `count` entries; the caller has checked that the file has room for them. Errors that put the layout in
/// doubt go to `errors`, and errors that only affect loaders go to `others`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    count: u64,
    errors: &mut BoundedErrors<GgufError>,
    others: &mut BoundedErrors<GgufError>,
) -> Result<Vec<TensorEntry>, Stop> {
    let mut entries = Vec::new();
    let mut name_bytes = 0;
    for _ in 0..count {
        let entry = read_one(reader, &mut name_bytes, errors, others)?;
        entries.push(entry);
    }
    mark_superseded(&mut entries, errors);
    Ok(entries)
}

fn read_one(
    reader: &mut Reader<'_>,
    name_bytes: &mut u64,
    errors: &mut BoundedErrors<GgufError>,
    others: &mut BoundedErrors<GgufError>,
) -> Result<TensorEntry, Stop> {
    let at = reader.position();
    let length = reader.length()?;
    if length > reader.left() {
        let (what, left) = ("a tensor name", reader.left());
        return Err(GgufError::StringPastEnd { what, length, left, at }.into());
    }
    *name_bytes = name_bytes.saturating_add(length);
    if length > MAX_NAME || *name_bytes > MAX_NAMES {
        return Err(GgufError::HugeName { length, at }.into());
    }
    let mut name = Vec::with_capacity(length as usize);
    reader.each(length, |piece| name.extend_from_slice(piece))?;
    let (name, is_text) = match String::from_utf8(name) {
        Ok(name) => (name, true),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), false),
    };
    let tensor = || name.clone();

    let count = reader.u32()?;
    if count as usize > MAX_DIMENSIONS {
        return Err(GgufError::TooManyDimensions { tensor: tensor(), count }.into());
    }
    let mut shape = Vec::with_capacity(count as usize);
    for _ in 0..count {
        shape.push(reader.length()?);
    }
    let number = reader.u32()? as i32;
    let offset = reader.u64()?;

    if !is_text {
        errors.push(GgufError::NameNotUtf8 { tensor: tensor() });
    } else if name.contains('\0') {
        others.push(GgufError::NameNul { tensor: tensor() });
    } else if length > MAX_LOADABLE_NAME {
        others.push(GgufError::LongName { tensor: tensor(), length });
    }
    let dtype = types::from_number(number);
    if dtype.is_none() {
        let tensor = tensor();
        errors.push(match types::removed(number) {
            Some(name) => GgufError::RemovedType { tensor, number, name },
            None => GgufError::UnknownType { tensor, number },
        });
    }
    // As in ggml, the first dimension is the innermost.
    let mut bytes = None;
    if let Some((index, &found)) = shape.iter().enumerate().find(|(_, n)| **n > i64::MAX as u64) {
        errors.push(GgufError::BadDimension { tensor: tensor(), index, found });
    } else if let Some(dtype) = dtype {
        let row = shape.first().copied().unwrap_or(1);
        if !row.is_multiple_of(dtype.granule().1) {
            errors.push(GgufError::PartialBlock { tensor: tensor(), row, dtype });
        } else {
            bytes = byte_len(dtype, &shape);
            if bytes.is_none() {
                let shape = format!("{shape:?}");
                errors.push(GgufError::SizeOverflow { tensor: tensor(), shape });
            }
        }
    }
    shape.reverse();
    let bytes = bytes.filter(|_| is_text);
    Ok(TensorEntry { name, dtype, shape, offset, bytes, superseded: false })
}

/// The size in bytes of a tensor whose rows are whole blocks. Dimensions whose product overflows are refused even if
/// another dimension is 0, because readers that multiply in another order would fail.
fn byte_len(dtype: Dtype, shape: &[u64]) -> Option<u64> {
    let mut filled = shape.iter().filter(|&&n| n != 0);
    let elements = filled.try_fold(1u64, |product, &n| product.checked_mul(n))?;
    if elements >= i64::MAX as u64 {
        return None;
    }
    let (bytes, granule) = dtype.granule();
    let bytes = (elements / granule).checked_mul(bytes).filter(|bytes| *bytes < 1 << 63)?;
    Some(if shape.contains(&0) { 0 } else { bytes })
}

/// Reports names that occur twice. The later entry wins.
fn mark_superseded(entries: &mut [TensorEntry], errors: &mut BoundedErrors<GgufError>) {
    let mut superseded = Vec::new();
    {
        let mut last: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
        for (at, entry) in entries.iter().enumerate() {
            superseded.extend(last.insert(&entry.name, at));
        }
    }
    for at in superseded {
        entries[at].superseded = true;
        errors.push(GgufError::DuplicateTensor { tensor: entries[at].name.clone() });
    }
}
