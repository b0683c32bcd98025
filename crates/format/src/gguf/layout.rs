//! Whether the entries of a GGUF file agree with each other and with the length of their file, and whether
//! what stands between the tensors is padding.

use super::error::GgufError;
use super::reader::{ByteReader, Stop};
use super::tensors::TensorEntry;
use crate::parsed_file::StoredTensor;
use crate::problem::BoundedErrors;

/// The file that the entries are of.
pub(super) struct FileGeometry<'a> {
    pub bytes: &'a dyn ByteReader,
    /// Where the entries end.
    pub header_end: u64,
    /// Length of the file.
    pub file_bytes: u64,
    pub alignment: u64,
}

/// The tensors that can be read, in order of offset, length and name, and the names of those that cannot.
#[derive(Debug, Default)]
pub(super) struct TensorTable {
    pub tensors: Vec<StoredTensor>,
    pub unreadable: Vec<String>,
}

/// The range of one entry in the file; wide, so that nothing wraps.
#[derive(Clone, Copy)]
struct EntryRange {
    start: u128,
    end: u128,
    entry: usize,
}

impl FileGeometry<'_> {
    /// The next place from `at` on that is aligned as the file is.
    fn aligned(&self, at: u128) -> u128 {
        at.next_multiple_of(u128::from(self.alignment))
    }

    /// A range of the file, cut off where the file ends.
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
    place: &FileGeometry<'_>,
    errors: &mut BoundedErrors<GgufError>,
) -> Result<TensorTable, Stop> {
    let mut sound = vec![true; entries.len()];
    let data_start = place.aligned(place.header_end.into());
    let mut claims = Vec::with_capacity(entries.len());
    let mut all_known = true;
    for (at, entry) in entries.iter().enumerate() {
        if !entry.offset.is_multiple_of(place.alignment) {
            sound[at] = false;
            let (tensor, offset, alignment) = (entry.name.clone(), entry.offset, place.alignment);
            errors.push(GgufError::MisalignedOffset { tensor, offset, alignment });
        }
        match entry.bytes {
            Some(bytes) => {
                let start = data_start + u128::from(entry.offset);
                claims.push(EntryRange { start, end: start + u128::from(bytes), entry: at });
            }
            None => (sound[at], all_known) = (false, false),
        }
    }
    // An entry that is wrong by itself leaves gaps and overlaps behind: those are no second fault.
    let alone = errors.is_empty();
    let mut together = BoundedErrors::default();
    let unordered = unordered(&claims);
    claims.sort_unstable_by_key(|claim| (claim.start, claim.end, claim.entry));

    let (contiguous, overlap) =
        overlaps(&claims, &entries, place, data_start, &mut sound, &mut together);
    let contiguous = contiguous && all_known;
    let end = claims.iter().map(|claim| claim.end).max().unwrap_or(place.header_end.into());
    let lost = past_end(&claims, &entries, place, contiguous, &mut sound, &mut together);
    if let Some((claim, other)) = unordered {
        let name = |claim: EntryRange| entries[claim.entry].name.clone();
        together.push(GgufError::Unordered { tensor: name(claim), other: name(other) });
    }
    // Where a range is unknown or at a wrong place, the bytes nobody claims are probably its own.
    if all_known && !overlap && !lost {
        between(&claims, place, end, &mut together)?;
    }
    if alone {
        *errors = together;
    }
    Ok(collect(entries, sound, data_start))
}

/// The first claim that begins before the one listed before it, and that one.
fn unordered(claims: &[EntryRange]) -> Option<(EntryRange, EntryRange)> {
    let pair = claims.windows(2).find(|pair| pair[1].start < pair[0].start)?;
    Some((pair[1], pair[0]))
}

/// Finds ranges that share bytes. Whether all ranges follow each other as a writer makes them, and whether
/// any share bytes.
fn overlaps(
    claims: &[EntryRange],
    entries: &[TensorEntry],
    place: &FileGeometry<'_>,
    data_start: u128,
    sound: &mut [bool],
    together: &mut BoundedErrors<GgufError>,
) -> (bool, bool) {
    let name = |claim: &EntryRange| entries[claim.entry].name.clone();
    let (mut contiguous, mut overlap) = (true, false);
    let mut cursor = data_start;
    let mut owner: Option<&EntryRange> = None;
    for claim in claims.iter().filter(|claim| !entries[claim.entry].superseded) {
        contiguous &= claim.start == place.aligned(cursor);
        if claim.start < cursor {
            // The bytes stay with the tensor that comes first: read twice or more, a small file could ask
            // for any amount of work.
            sound[claim.entry] = false;
            overlap = true;
            together.push(GgufError::Overlap {
                tensor: name(claim),
                other: owner.map(name).unwrap_or_default(),
                range: place.range(claim.start, claim.end.min(cursor)),
            });
        }
        if claim.end > cursor {
            cursor = claim.end;
            owner = Some(claim);
        }
    }
    (contiguous, overlap)
}

/// Finds ranges that are not in the file. Whether there are any, and not because it was cut off.
fn past_end(
    claims: &[EntryRange],
    entries: &[TensorEntry],
    place: &FileGeometry<'_>,
    contiguous: bool,
    sound: &mut [bool],
    together: &mut BoundedErrors<GgufError>,
) -> bool {
    let file_bytes = place.file_bytes;
    let is_beyond = |claim: &&EntryRange| {
        claim.end > u128::from(file_bytes) && !entries[claim.entry].superseded
    };
    let beyond: Vec<&EntryRange> = claims.iter().filter(is_beyond).collect();
    for claim in &beyond {
        sound[claim.entry] = false;
    }
    let name = |claim: &EntryRange| entries[claim.entry].name.clone();
    let narrow = |at: u128| u64::try_from(at).unwrap_or(u64::MAX);
    let end = beyond.iter().map(|claim| claim.end).max().unwrap_or(0);
    if !beyond.is_empty() && contiguous {
        // The ranges are as a writer makes them: it is the file that is too short.
        together.push(GgufError::Truncated {
            missing: [file_bytes, narrow(end)],
            tensors: beyond.iter().map(|claim| name(claim)).collect(),
        });
        return false;
    }
    for claim in &beyond {
        let range = [narrow(claim.start), narrow(claim.end)];
        let (tensor, end) = (name(claim), claim.end);
        together.push(GgufError::RangePastEnd { tensor, range, end, file_bytes });
    }
    !beyond.is_empty()
}

/// Looks at what stands between the header, the tensors and the end of the file.
fn between(
    claims: &[EntryRange],
    place: &FileGeometry<'_>,
    end: u128,
    together: &mut BoundedErrors<GgufError>,
) -> Result<(), Stop> {
    let file_end = u128::from(place.file_bytes);
    let padding = |start: u128, end: u128, together: &mut BoundedErrors<GgufError>| {
        let range = place.range(start, end);
        if !place.is_zero(range)? {
            together.push(GgufError::Padding { range });
        }
        Ok::<_, Stop>(())
    };
    let mut cursor = u128::from(place.header_end);
    for claim in claims {
        if claim.start > cursor && cursor < file_end {
            let aligned = place.aligned(cursor).min(claim.start);
            padding(cursor, aligned, together)?;
            if aligned < claim.start && aligned < file_end {
                together.push(GgufError::Gap { range: place.range(aligned, claim.start) });
            }
        }
        cursor = cursor.max(claim.end);
    }
    if end < file_end {
        let aligned = place.aligned(end);
        padding(end, aligned, together)?;
        if aligned < file_end {
            together.push(GgufError::TrailingBytes { range: place.range(aligned, file_end) });
        }
    }
    Ok(())
}

/// The sound tensors in order of offset, length (those without elements come first) and name.
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
