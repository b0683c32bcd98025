//! Whether the entries of a header agree with each other and with the length of their file.

use super::header::{HeaderError, TensorEntry};
use crate::parsed_file::StoredTensor;
use crate::problem::BoundedErrors;
use tensorseal_base::dtype::Dtype;

/// The tensors that can be read, in file order, and the names of those that cannot.
#[derive(Debug, Default)]
pub(crate) struct TensorTable {
    pub tensors: Vec<StoredTensor>,
    pub unreadable: Vec<String>,
}

/// The range of one entry, relative to the start of the data.
struct EntryRange {
    start: u64,
    end: u64,
    entry: usize,
}

/// Checks every entry by itself, then all together. `data_start` is where the header ends.
pub(crate) fn check(
    entries: Vec<TensorEntry<'_>>,
    data_start: u64,
    file_bytes: u64,
    errors: &mut BoundedErrors<HeaderError>,
) -> TensorTable {
    let mut sound: Vec<bool> =
        entries.iter().map(|entry| is_sound(entry, data_start, errors)).collect();

    // An entry that is wrong by itself leaves gaps and overlaps behind: those are no second fault.
    let mut together = BoundedErrors::default();
    let alone = errors.is_empty();

    let mut claims = Vec::with_capacity(entries.len());
    let mut all_known = true;
    for (at, entry) in entries.iter().enumerate() {
        match entry.offsets {
            Some([start, end]) if start <= end => claims.push(EntryRange { start, end, entry: at }),
            _ => all_known = false,
        }
    }
    claims.sort_unstable_by_key(|claim| (claim.start, claim.end, claim.entry));

    let data_bytes = file_bytes.saturating_sub(data_start);
    let in_file =
        |start: u64, end: u64| [data_start.saturating_add(start), data_start.saturating_add(end)];
    let name = |claim: &EntryRange| entries[claim.entry].name.to_string();

    // Overlaps are between what the last entry of each name claims.
    let mut cursor = 0;
    let mut owner: Option<&EntryRange> = None;
    let mut contiguous = all_known;
    for claim in claims.iter().filter(|claim| !entries[claim.entry].superseded) {
        contiguous &= claim.start == cursor;
        if claim.start < cursor {
            // The bytes stay with the tensor that comes first: read twice or more, a small file
            // could ask for any amount of work.
            sound[claim.entry] = false;
            together.push(HeaderError::Overlap {
                tensor: name(claim),
                other: owner.map(name).unwrap_or_default(),
                range: in_file(claim.start, claim.end.min(cursor)),
            });
        }
        if claim.end > cursor {
            cursor = claim.end;
            owner = Some(claim);
        }
    }

    let beyond: Vec<&EntryRange> = claims
        .iter()
        .filter(|claim| claim.end > data_bytes && !entries[claim.entry].superseded)
        .collect();
    for claim in &beyond {
        sound[claim.entry] = false;
    }
    if !beyond.is_empty() && contiguous {
        // The ranges are as a writer makes them: it is the file that is too short.
        together.push(HeaderError::Truncated {
            missing: [file_bytes, data_start.saturating_add(cursor)],
            tensors: beyond.iter().map(|claim| name(claim)).collect(),
        });
    } else {
        for claim in &beyond {
            let range = in_file(claim.start, claim.end);
            together.push(HeaderError::RangePastEnd { tensor: name(claim), range, file_bytes });
        }
    }

    // Where a range is unknown, the bytes nobody claims are probably its own: no second finding.
    if all_known {
        let mut cursor = 0;
        for claim in &claims {
            if claim.start > cursor && cursor < data_bytes {
                let range = in_file(cursor, claim.start.min(data_bytes));
                together.push(HeaderError::Gap { range });
            }
            cursor = cursor.max(claim.end);
        }
        if cursor < data_bytes {
            together.push(HeaderError::TrailingBytes { range: in_file(cursor, data_bytes) });
        }
    }
    drop(claims);
    if alone {
        *errors = together;
    }
    collect(entries, sound, data_start)
}

/// The sound tensors in order of offset, then name.
fn collect(entries: Vec<TensorEntry<'_>>, sound: Vec<bool>, data_start: u64) -> TensorTable {
    let mut layout = TensorTable::default();
    for (entry, sound) in entries.into_iter().zip(sound) {
        match (entry.dtype, entry.shape, entry.offsets) {
            _ if entry.superseded => {}
            (Some(dtype), Some(shape), Some([start, end])) if sound => {
                layout.tensors.push(StoredTensor {
                    name: entry.name.into_owned(),
                    dtype,
                    shape,
                    strides: None,
                    offset: data_start + start,
                    bytes: end - start,
                });
            }
            _ => layout.unreadable.push(entry.name.into_owned()),
        }
    }
    layout.tensors.sort_unstable_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    layout
}

/// Whether type, shape and range of one entry agree.
fn is_sound(
    entry: &TensorEntry<'_>,
    data_start: u64,
    errors: &mut BoundedErrors<HeaderError>,
) -> bool {
    let tensor = || entry.name.to_string();
    let size = match (entry.dtype, &entry.shape) {
        (Some(dtype), Some(shape)) => match byte_len(dtype, shape) {
            Ok(bytes) => Some((dtype, shape, bytes)),
            Err(Unsized::Overflow) => {
                let shape = shown(shape);
                errors.push(HeaderError::SizeOverflow { tensor: tensor(), shape });
                None
            }
            Err(Unsized::PartialByte(elements)) => {
                errors.push(HeaderError::PartialByte { tensor: tensor(), elements, dtype });
                None
            }
        },
        _ => None,
    };
    let Some([start, end]) = entry.offsets else { return false };
    if start > end {
        errors.push(HeaderError::ReversedOffsets { tensor: tensor(), start, end });
        return false;
    }
    let Some((dtype, shape, needed)) = size else { return false };
    let given = end - start;
    if given != needed {
        errors.push(HeaderError::SizeMismatch {
            tensor: tensor(),
            given,
            needed,
            dtype,
            shape: shown(shape),
            range: [data_start.saturating_add(start), data_start.saturating_add(end)],
        });
    }
    given == needed
}

/// Why a type and shape have no size.
enum Unsized {
    Overflow,
    PartialByte(u64),
}

/// Bytes that a tensor takes. Dimensions whose product overflows are refused even beside a 0:
/// readers that multiply in another order would fail on them.
fn byte_len(dtype: Dtype, shape: &[u64]) -> Result<u64, Unsized> {
    let bits = shape
        .iter()
        .filter(|&&n| n != 0)
        .try_fold(1u64, |product, &n| product.checked_mul(n))
        .filter(|product| product.checked_mul(u64::from(dtype.bits())).is_some());
    let elements = match bits {
        None => return Err(Unsized::Overflow),
        Some(_) if shape.contains(&0) => 0,
        Some(elements) => elements,
    };
    dtype.byte_len(elements).ok_or(Unsized::PartialByte(elements))
}

/// A shape for a message.
fn shown(shape: &[u64]) -> String {
    const SHOWN: usize = 8;
    let mut text: Vec<_> = shape.iter().take(SHOWN).map(u64::to_string).collect();
    if shape.len() > SHOWN {
        text.push(format!("… {} dimensions", shape.len()));
    }
    format!("[{}]", text.join(", "))
}
