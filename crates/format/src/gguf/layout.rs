//! Checks that the entries of a GGUF file are consistent with each other and with the length of the file, and that
//! the bytes between the tensors are padding.

use super::error::GgufError;
use super::reader::{ByteReader, Stop};
use super::tensors::TensorEntry;
use crate::parsed_file::StoredTensor;
use crate::problem::BoundedErrors;

/// The file whose entries are checked.
pub(super) struct FileGeometry<'a> {
    pub bytes: &'a dyn ByteReader,
    /// The end of the entries.
    pub header_end: u64,
    /// The length of the file.
    pub file_bytes: u64,
    pub alignment: u64,
}

/// The readable tensors, ordered by offset, length and name, and the names of the unreadable ones.
#[derive(Debug, Default)]
pub(super) struct TensorTable {
    pub tensors: Vec<StoredTensor>,
    pub unreadable: Vec<String>,
}

/// The byte range of one entry in the file, in 128 bits so that nothing overflows.
#[derive(Clone, Copy)]
struct EntryRange {
    start: u128,
    end: u128,
    entry: usize,
}

impl FileGeometry<'_> {
    /// The next aligned position from `at` on.
    fn aligned(&self, at: u128) -> u128 {
        at.next_multiple_of(u128::from(self.alignment))
    }

    /// A range of the file, cut at the end of the file.
    fn range(&self, start: u128, end: u128) -> [u64; 2] {
        let cut = |at: u128| u64::try_from(at).unwrap_or(u64::MAX).min(self.file_bytes);
        [cut(start), cut(end)]
    }

    /// Whether the bytes of a range are all zero.
    fn is_zero(&self, [start, end]: [u64; 2]) -> Result<bool, Stop> {
        let mut piece = [0; 4096];
        let mut at = start;
        while at < end {
            let piece = &mut piece[..(end - at).min(4096) as usize];
            self.bytes.read_at(at, piece)?;
            if piece.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            at += piece.len() as u64;
        }
        Ok(true)
    }
}

/// Checks all entries together.
pub(super) fn check(
    entries: Vec<TensorEntry>,
    geometry: &FileGeometry<'_>,
    errors: &mut BoundedErrors<GgufError>,
) -> Result<TensorTable, Stop> {
    let mut sound = vec![true; entries.len()];
    let data_start = geometry.aligned(geometry.header_end.into());
    let mut spans = Vec::with_capacity(entries.len());
    let mut all_known = true;
    for (at, entry) in entries.iter().enumerate() {
        if !entry.offset.is_multiple_of(geometry.alignment) {
            sound[at] = false;
            let (tensor, offset, alignment) =
                (entry.name.clone(), entry.offset, geometry.alignment);
            errors.push(GgufError::MisalignedOffset { tensor, offset, alignment });
        }
        match entry.bytes {
            Some(bytes) => {
                let start = data_start + u128::from(entry.offset);
                spans.push(EntryRange { start, end: start + u128::from(bytes), entry: at });
            }
            None => (sound[at], all_known) = (false, false),
        }
    }
    // An inconsistent entry causes gaps and overlaps, which are not reported as second faults.
    let entries_are_sound = errors.is_empty();
    let mut joint_errors = BoundedErrors::default();
    let unordered = unordered(&spans);
    spans.sort_unstable_by_key(|span| (span.start, span.end, span.entry));

    let (contiguous, has_overlap) =
        overlaps(&spans, &entries, geometry, data_start, &mut sound, &mut joint_errors);
    let contiguous = contiguous && all_known;
    let end = spans.iter().map(|span| span.end).max().unwrap_or(geometry.header_end.into());
    let has_lost = past_end(&spans, &entries, geometry, contiguous, &mut sound, &mut joint_errors);
    if let Some((span, other)) = unordered {
        let name = |span: EntryRange| entries[span.entry].name.clone();
        joint_errors.push(GgufError::Unordered { tensor: name(span), other: name(other) });
    }
    // If a range is unknown or wrong, the bytes that no tensor covers probably belong to it.
    if all_known && !has_overlap && !has_lost {
        check_gaps(&spans, geometry, end, &mut joint_errors)?;
    }
    if entries_are_sound {
        *errors = joint_errors;
    }
    Ok(collect(entries, sound, data_start))
}

/// Finds the first range that begins before the previously listed one, and returns both.
fn unordered(spans: &[EntryRange]) -> Option<(EntryRange, EntryRange)> {
    let pair = spans.windows(2).find(|pair| pair[1].start < pair[0].start)?;
    Some((pair[1], pair[0]))
}

/// Reports ranges that share bytes. Returns whether all ranges follow each other as a writer makes them, and
/// whether any ranges share bytes.
fn overlaps(
    spans: &[EntryRange],
    entries: &[TensorEntry],
    geometry: &FileGeometry<'_>,
    data_start: u128,
    sound: &mut [bool],
    joint_errors: &mut BoundedErrors<GgufError>,
) -> (bool, bool) {
    let name = |span: &EntryRange| entries[span.entry].name.clone();
    let (mut contiguous, mut has_overlap) = (true, false);
    let mut cursor = data_start;
    let mut owner: Option<&EntryRange> = None;
    for span in spans.iter().filter(|span| !entries[span.entry].superseded) {
        contiguous &= span.start == geometry.aligned(cursor);
        if span.start < cursor {
            // The first tensor keeps the bytes. If bytes were read several times, a small file could cause any
            // amount of work.
            sound[span.entry] = false;
            has_overlap = true;
            joint_errors.push(GgufError::Overlap {
                tensor: name(span),
                other: owner.map(name).unwrap_or_default(),
                range: geometry.range(span.start, span.end.min(cursor)),
            });
        }
        if span.end > cursor {
            cursor = span.end;
            owner = Some(span);
        }
    }
    (contiguous, has_overlap)
}

/// Reports ranges past the end of the file. Returns whether there are any that a truncation does not explain.
fn past_end(
    spans: &[EntryRange],
    entries: &[TensorEntry],
    geometry: &FileGeometry<'_>,
    contiguous: bool,
    sound: &mut [bool],
    joint_errors: &mut BoundedErrors<GgufError>,
) -> bool {
    let file_bytes = geometry.file_bytes;
    let is_past_end =
        |span: &&EntryRange| span.end > u128::from(file_bytes) && !entries[span.entry].superseded;
    let past_end: Vec<&EntryRange> = spans.iter().filter(is_past_end).collect();
    for span in &past_end {
        sound[span.entry] = false;
    }
    let name = |span: &EntryRange| entries[span.entry].name.clone();
    let narrow = |at: u128| u64::try_from(at).unwrap_or(u64::MAX);
    let end = past_end.iter().map(|span| span.end).max().unwrap_or(0);
    if !past_end.is_empty() && contiguous {
        // The ranges are as a writer makes them, so the file is too short.
        joint_errors.push(GgufError::Truncated {
            missing: [file_bytes, narrow(end)],
            tensors: past_end.iter().map(|span| name(span)).collect(),
        });
        return false;
    }
    for span in &past_end {
        let range = [narrow(span.start), narrow(span.end)];
        let (tensor, end) = (name(span), span.end);
        joint_errors.push(GgufError::RangePastEnd { tensor, range, end, file_bytes });
    }
    !past_end.is_empty()
}

/// Checks the bytes between the header, the tensors and the end of the file.
fn check_gaps(
    spans: &[EntryRange],
    geometry: &FileGeometry<'_>,
    end: u128,
    joint_errors: &mut BoundedErrors<GgufError>,
) -> Result<(), Stop> {
    let file_end = u128::from(geometry.file_bytes);
    let padding = |start: u128, end: u128, joint_errors: &mut BoundedErrors<GgufError>| {
        let range = geometry.range(start, end);
        if !geometry.is_zero(range)? {
            joint_errors.push(GgufError::Padding { range });
        }
        Ok::<_, Stop>(())
    };
    let mut cursor = u128::from(geometry.header_end);
    for span in spans {
        if span.start > cursor && cursor < file_end {
            let aligned = geometry.aligned(cursor).min(span.start);
            padding(cursor, aligned, joint_errors)?;
            if aligned < span.start && aligned < file_end {
                joint_errors.push(GgufError::Gap { range: geometry.range(aligned, span.start) });
            }
        }
        cursor = cursor.max(span.end);
    }
    if end < file_end {
        let aligned = geometry.aligned(end);
        padding(end, aligned, joint_errors)?;
        if aligned < file_end {
            joint_errors
                .push(GgufError::TrailingBytes { range: geometry.range(aligned, file_end) });
        }
    }
    Ok(())
}

/// Collects the sound tensors, ordered by offset, length (those without elements come first) and name.
fn collect(entries: Vec<TensorEntry>, sound: Vec<bool>, data_start: u128) -> TensorTable {
    let mut layout = TensorTable::default();
    for (entry, sound) in entries.into_iter().zip(sound) {
        if entry.superseded {
            continue;
        }
        let offset = u64::try_from(data_start + u128::from(entry.offset));
        match (entry.dtype, entry.bytes, offset) {
            (Some(dtype), Some(bytes), Ok(offset)) if sound => {
                let TensorEntry { name, shape, .. } = entry;
                layout.tensors.push(StoredTensor {
                    name,
                    dtype,
                    shape,
                    strides: None,
                    offset,
                    bytes,
                });
            }
            _ => layout.unreadable.push(entry.name),
        }
    }
    layout
        .tensors
        .sort_unstable_by(|a, b| (a.offset, a.bytes, &a.name).cmp(&(b.offset, b.bytes, &b.name)));
    layout
}
