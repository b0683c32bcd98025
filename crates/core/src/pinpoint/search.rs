//! Searching the places where a model differs from its seal, within bounds.

use super::chunk_digests::{ChunkDigestError, ChunkDigests};
use super::differing_ranges::{DifferingRange, RangeSubject};
use super::explain::{self, Explanation};
use super::subtree::Subtree;
use std::collections::HashMap;
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_engine::stream::plan::{Object, ObjectKind, Plan};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::Checkpoint;

/// Places that are searched at most, unless told otherwise.
pub const DEFAULT_LIMIT: usize = 64;

/// One in so many searches may fail before the rest is given up: weights that were replaced have no
/// flipped bits, and a search without a hit takes the longest.
const FAILURES: usize = 8;

/// How much is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchLimits {
    /// Blocks, or chunks where those are known, that are searched at most. After an eighth of that many
    /// without a hit the rest is given up.
    pub searches: usize,
}

impl Default for SearchLimits {
    fn default() -> Self {
        SearchLimits { searches: DEFAULT_LIMIT }
    }
}

/// What became of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinpointedRange<'a> {
    /// The place.
    pub range: DifferingRange<'a>,
    /// What was searched of it: the block, or each of its changed chunks.
    pub explanations: Vec<Explanation>,
    /// Changed bytes that were not searched, half-open ranges of the object.
    pub not_searched: Vec<[u64; 2]>,
}

impl PinpointedRange<'_> {
    /// Whether every changed bit of the place is known.
    pub fn is_explained(&self) -> bool {
        self.not_searched.is_empty()
            && !self.explanations.is_empty()
            && self.explanations.iter().all(|explanation| !explanation.differences.is_empty())
    }
}

/// All that was found.
#[derive(Debug, Default)]
pub struct PinpointResult<'a> {
    /// By place, in the order they were given.
    pub ranges: Vec<PinpointedRange<'a>>,
    /// What is wrong with the sidecar: it was not used from there on.
    pub sidecar_error: Option<ChunkDigestError>,
}

/// Searches places of `model`, in order; with the sidecar, chunk by chunk.
///
/// # Errors
/// See [`RunError`].
pub fn search<'a>(
    model: &Checkpoint,
    places: Vec<DifferingRange<'a>>,
    fine: Option<ChunkDigests<'_>>,
    limits: SearchLimits,
    threads: &Threads,
    progress: &Progress,
) -> Result<PinpointResult<'a>, RunError> {
    if places.is_empty() {
        return Ok(PinpointResult::default());
    }
    let by_path: HashMap<&str, usize> = model
        .model_files()
        .iter()
        .enumerate()
        .map(|(index, file)| (file.path.as_str(), index))
        .collect();
    let (mut plan, mut kept) = (Plan::default(), Vec::with_capacity(places.len()));
    for place in places {
        let Some(file) = by_path.get(place.file).copied() else { continue };
        let start = place.object + place.offset;
        plan.objects.push(Object::digest_only(
            ObjectKind::File(file),
            file,
            start,
            place.len as u64,
        ));
        kept.push(place);
    }
    let files = FileSet::new(&model.files, &plan);
    let mut searcher = Searcher {
        fine,
        sidecar_error: None,
        left: limits.searches,
        failures_left: (limits.searches / FAILURES).max(1),
        progress,
    };
    let pool = threads.pool()?;
    let mut found = Vec::with_capacity(kept.len());
    let mut bytes = Vec::new();
    for (place, object) in kept.into_iter().zip(&plan.objects) {
        if !searcher.may_search() && searcher.fine.is_none() {
            let not_searched = vec![[place.offset, place.offset + place.len as u64]];
            found.push(PinpointedRange { range: place, explanations: Vec::new(), not_searched });
        } else {
            files.copy_into(object.file, object.offset, place.len, &mut bytes)?;
            found.push(pool.install(|| searcher.search_range(place, &bytes)));
        }
        if progress.stopped() {
            return Err(RunError::Interrupted);
        }
        files.object_done(object.file)?;
    }
    Ok(PinpointResult { ranges: found, sidecar_error: searcher.sidecar_error })
}

struct Searcher<'s> {
    fine: Option<ChunkDigests<'s>>,
    sidecar_error: Option<ChunkDigestError>,
    left: usize,
    failures_left: usize,
    progress: &'s Progress,
}

impl Searcher<'_> {
    fn may_search(&self) -> bool {
        self.left > 0 && self.failures_left > 0
    }

    fn count(&mut self, explanation: &Explanation) {
        self.left -= 1;
        if explanation.differences.is_empty() {
            self.failures_left -= 1;
        }
    }

    fn search_range<'a>(&mut self, place: DifferingRange<'a>, bytes: &[u8]) -> PinpointedRange<'a> {
        let DifferingRange { offset, root, sealed, .. } = place;
        let subtree = Subtree { bytes, offset, root, sealed };
        let mut found =
            PinpointedRange { range: place, explanations: Vec::new(), not_searched: Vec::new() };
        let progress = self.progress;
        let stop = || progress.stopped();
        let Some((values, changed)) = self.chunks(&place, &subtree) else {
            if self.may_search() {
                let explanation = explain::block(&subtree, &stop);
                self.count(&explanation);
                found.explanations.push(explanation);
            } else {
                found.not_searched.push([offset, offset + bytes.len() as u64]);
            }
            return found;
        };
        for index in changed {
            if self.may_search() {
                let explanation = explain::chunk(&subtree, index, &values[index], &stop);
                self.count(&explanation);
                found.explanations.push(explanation);
                continue;
            }
            let [start, end] = explain::chunk_range(&subtree, index);
            match found.not_searched.last_mut() {
                Some(last) if last[1] == start => last[1] = end,
                _ => found.not_searched.push([start, end]),
            }
        }
        found
    }

    /// The sealed values of the chunks of a block, and which of them changed. A sidecar with other
    /// values is put aside.
    fn chunks(
        &mut self,
        place: &DifferingRange<'_>,
        subtree: &Subtree<'_>,
    ) -> Option<(Vec<ChainingValue>, Vec<usize>)> {
        let RangeSubject::Tensor(tensor) = place.subject else { return None };
        let fine = self.fine.as_ref()?;
        let read = fine.values(tensor, place.offset);
        let wrong = match read {
            Ok(values) if values.is_empty() => return None,
            Ok(values) => match explain::changed_chunks(subtree, &values) {
                Some(changed) => return Some((values, changed)),
                None => fine.mismatch(tensor, place.offset),
            },
            Err(error) => error,
        };
        self.sidecar_error = Some(wrong);
        self.fine = None;
        None
    }
}
