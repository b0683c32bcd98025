//! The entries that say what the tensors of a GGUF file are and where.

use super::error::GgufError;
use super::reader::{Reader, Stop};
use super::{MAX_DIMENSIONS, types};
use crate::problem::BoundedErrors;
use std::collections::HashMap;
use tensorseal_base::dtype::Dtype;

/// Longest name that llama.cpp takes.
const LOADABLE_NAME: u64 = 63;
/// Longest name that is kept.
const MAX_NAME: u64 = 65535;
/// Most bytes of all names.
const MAX_NAMES: u64 = 100_000_000;

/// An entry as the header states it; what could not be read is `None` (and an error was noted).
#[derive(Debug)]
pub(super) struct TensorEntry {
    pub name: String,
    pub dtype: Option<Dtype>,
    /// Dimensions, row-major: the other way round than in the file.
    pub shape: Vec<u64>,
    /// Where its data begins, from the start of all data.
    pub offset: u64,
    /// Length of its data.
    pub bytes: Option<u64>,
    /// A later entry has the same name.
    pub superseded: bool,
}

/// Bytes that an entry takes at least.
pub(super) fn least(reader: &Reader<'_>) -> u64 {
    reader.length_width() + 4 + 4 + 8
}

/// Reads `count` entries, which were found to have room. What leaves the layout in doubt goes to `errors`,
/// what only loaders stumble over to `others`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    count: u64,
    errors: &mut BoundedErrors<GgufError>,
    others: &mut BoundedErrors<GgufError>,
) -> Result<Vec<TensorEntry>, Stop> {
    let mut entries = Vec::new();
    let mut of_names = 0;
    for _ in 0..count {
        let entry = read_one(reader, &mut of_names, errors, others)?;
        entries.push(entry);
    }
    mark_superseded(&mut entries, errors);
    Ok(entries)
}

fn read_one(
    reader: &mut Reader<'_>,
    of_names: &mut u64,
    errors: &mut BoundedErrors<GgufError>,
    others: &mut BoundedErrors<GgufError>,
) -> Result<TensorEntry, Stop> {
    let at = reader.position();
    let length = reader.length()?;
    if length > reader.left() {
        let (what, left) = ("a tensor name", reader.left());
        return Err(GgufError::StringPastEnd { what, length, left, at }.into());
    }
    *of_names = of_names.saturating_add(length);
    if length > MAX_NAME || *of_names > MAX_NAMES {
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
    } else if length > LOADABLE_NAME {
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
    // Named by what ggml calls them: the first dimension is the innermost.
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

/// Bytes that a tensor takes, whose rows are whole blocks. Dimensions whose product overflows are refused
/// even beside a 0: readers that multiply in another order would fail on them.
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

/// Notes names that occur twice. The later entry stands.
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
