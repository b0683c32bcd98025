//! Checks that the entries of a header are consistent with each other and with the length of the file.

use super::header::{HeaderError, TensorEntry};
use crate::parsed_file::StoredTensor;
use crate::problem::BoundedErrors;
use tensorseal_base::dtype::Dtype;

/// The readable tensors in file order, and the names of the unreadable ones.
#[derive(Debug, Default)]
pub(crate) struct TensorTable {
    pub tensors: Vec<StoredTensor>,
    pub unreadable: Vec<String>,
}

/// The byte range of one entry, relative to the start of the data.
struct EntryRange {
    start: u64,
    end: u64,
    entry: usize,
}

/// Checks every entry separately, and then all entries together. `data_start` is the end of the header.
pub(crate) fn check(
    entries: Vec<TensorEntry<'_>>,
    data_start: u64,
    file_bytes: u64,
    errors: &mut BoundedErrors<HeaderError>,
) -> TensorTable {
    let mut sound: Vec<bool> =
        entries.iter().map(|entry| is_sound(entry, data_start, errors)).collect();

    // An inconsistent entry causes gaps and overlaps, which are not reported as second faults.
    let mut joint_errors = BoundedErrors::default();
    let entries_are_sound = errors.is_empty();

    let mut spans = Vec::with_capacity(entries.len());
    let mut all_known = true;
    for (at, entry) in entries.iter().enumerate() {
        match entry.offsets {
            Some([start, end]) if start <= end => spans.push(EntryRange { start, end, entry: at }),
            _ => all_known = false,
        }
    }
    spans.sort_unstable_by_key(|span| (span.start, span.end, span.entry));

    let data_bytes = file_bytes.saturating_sub(data_start);
    let file_range =
        |start: u64, end: u64| [data_start.saturating_add(start), data_start.saturating_add(end)];
    let name = |span: &EntryRange| entries[span.entry].name.to_string();

    // Only the last entry of each name is checked for overlaps.
    let mut cursor = 0;
    let mut owner: Option<&EntryRange> = None;
    let mut contiguous = all_known;
    for span in spans.iter().filter(|span| !entries[span.entry].superseded) {
        contiguous &= span.start == cursor;
        if span.start < cursor {
            // The first tensor keeps the bytes. If bytes were read several times, a small file could cause any
            // amount of work.
            sound[span.entry] = false;
            joint_errors.push(HeaderError::Overlap {
                tensor: name(span),
                other: owner.map(name).unwrap_or_default(),
                range: file_range(span.start, span.end.min(cursor)),
            });
        }
        if span.end > cursor {
            cursor = span.end;
            owner = Some(span);
        }
    }

    let past_end: Vec<&EntryRange> = spans
        .iter()
        .filter(|span| span.end > data_bytes && !entries[span.entry].superseded)
        .collect();
    for span in &past_end {
        sound[span.entry] = false;
    }
    if !past_end.is_empty() && contiguous {
        // The ranges are as a writer makes them, so the file is too short.
        joint_errors.push(HeaderError::Truncated {
            missing: [file_bytes, data_start.saturating_add(cursor)],
            tensors: past_end.iter().map(|span| name(span)).collect(),
        });
    } else {
        for span in &past_end {
            let range = file_range(span.start, span.end);
            joint_errors.push(HeaderError::RangePastEnd { tensor: name(span), range, file_bytes });
        }
    }

    // If a range is unknown, the bytes that no tensor covers probably belong to it: do not report them.
    if all_known {
        let mut cursor = 0;
        for span in &spans {
            if span.start > cursor && cursor < data_bytes {
                let range = file_range(cursor, span.start.min(data_bytes));
                joint_errors.push(HeaderError::Gap { range });
            }
            cursor = cursor.max(span.end);
        }
        if cursor < data_bytes {
            joint_errors.push(HeaderError::TrailingBytes { range: file_range(cursor, data_bytes) });
        }
    }
    drop(spans);
    if entries_are_sound {
        *errors = joint_errors;
    }
    collect(entries, sound, data_start)
}

/// Collects the sound tensors, ordered by offset and name.
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

/// Whether the type, shape and range of one entry are consistent.
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

/// The reason why a type and a shape have no size.
enum Unsized {
    Overflow,
    PartialByte(u64),
}

/// The size of a tensor in bytes. Dimensions whose product overflows are refused even if another dimension is 0,
/// because readers that multiply in another order would fail.
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

/// Formats a shape for a message.
fn shown(shape: &[u64]) -> String {
    const SHOWN: usize = 8;
    let mut text: Vec<_> = shape.iter().take(SHOWN).map(u64::to_string).collect();
    if shape.len() > SHOWN {
        text.push(format!("… {} dimensions", shape.len()));
    }
    format!("[{}]", text.join(", "))
}
