//! Searches the byte ranges where a model differs from its seal, within limits.

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

/// The default maximum number of searches.
pub const DEFAULT_LIMIT: usize = 64;

/// The search stops after 1/`FAILURE_DIVISOR` of the allowed searches failed. Replaced weights have no bit flips, and a
/// search without a hit takes longest.
const FAILURE_DIVISOR: usize = 8;

/// The limits of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchLimits {
    /// The maximum number of blocks that are searched, or of chunks if chunk digests are available. The search stops early
    /// after an eighth of this number failed.
    pub searches: usize,
}

impl SearchLimits {
    /// Creates limits that search at most `searches` blocks, or chunks if their digests are known.
    pub fn new(searches: usize) -> Self {
        Self { searches }
    }
}

impl Default for SearchLimits {
    fn default() -> Self {
        SearchLimits { searches: DEFAULT_LIMIT }
    }
}

/// The result of the search in one byte range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinpointedRange<'a> {
    /// The range that was searched.
    pub range: DifferingRange<'a>,
    /// The result for the block, or for each of its changed chunks.
    pub explanations: Vec<Explanation>,
    /// Half-open byte ranges of the object that changed and were not searched.
    pub not_searched: Vec<[u64; 2]>,
}

impl PinpointedRange<'_> {
    /// Returns whether every changed bit of the range is known.
    pub fn is_explained(&self) -> bool {
        self.not_searched.is_empty()
            && !self.explanations.is_empty()
            && self.explanations.iter().all(|explanation| !explanation.differences.is_empty())
    }
}

/// The results of a search.
#[derive(Debug, Default)]
pub struct PinpointResult<'a> {
    /// The result for each range, in the order in which ranges were given.
    pub ranges: Vec<PinpointedRange<'a>>,
    /// Why the chunk digests were not used any further, if there was an error in them.
    pub sidecar_error: Option<ChunkDigestError>,
}

/// Searches byte ranges of `model`, in order. With chunk digests, only changed chunks are searched.
///
/// # Errors
/// Returns a [`RunError`] if the model cannot be read or changed, or if the run was interrupted.
pub fn search<'a>(
    model: &Checkpoint,
    ranges: Vec<DifferingRange<'a>>,
    chunk_digests: Option<ChunkDigests<'_>>,
    limits: SearchLimits,
    threads: &Threads,
    progress: &Progress,
) -> Result<PinpointResult<'a>, RunError> {
    if ranges.is_empty() {
        return Ok(PinpointResult::default());
    }
    let by_path: HashMap<&str, usize> = model
        .model_files()
        .iter()
        .enumerate()
        .map(|(index, file)| (file.path.as_str(), index))
        .collect();
    let (mut plan, mut searched) = (Plan::default(), Vec::with_capacity(ranges.len()));
    for range in ranges {
        let Some(file) = by_path.get(range.file).copied() else { continue };
        let start = range.object + range.offset;
        plan.objects.push(Object::digest_only(
            ObjectKind::File(file),
            file,
            start,
            range.len as u64,
        ));
        searched.push(range);
    }
    let files = FileSet::new(&model.files, &plan);
    let mut searcher = Searcher {
        chunk_digests,
        sidecar_error: None,
        searches_left: limits.searches,
        failures_left: (limits.searches / FAILURE_DIVISOR).max(1),
        progress,
    };
    let pool = threads.pool()?;
    let mut results = Vec::with_capacity(searched.len());
    let mut bytes = Vec::new();
    for (range, object) in searched.into_iter().zip(&plan.objects) {
        if !searcher.may_search() && searcher.chunk_digests.is_none() {
            let not_searched = vec![[range.offset, range.offset + range.len as u64]];
            results.push(PinpointedRange { range, explanations: Vec::new(), not_searched });
        } else {
            files.copy_into(object.file, object.offset, range.len, &mut bytes)?;
            results.push(pool.install(|| searcher.search_range(range, &bytes)));
        }
        if progress.stopped() {
            return Err(RunError::Interrupted);
        }
        files.object_done(object.file)?;
    }
    Ok(PinpointResult { ranges: results, sidecar_error: searcher.sidecar_error })
}

struct Searcher<'s> {
    chunk_digests: Option<ChunkDigests<'s>>,
    sidecar_error: Option<ChunkDigestError>,
    searches_left: usize,
    failures_left: usize,
    progress: &'s Progress,
}

impl Searcher<'_> {
    fn may_search(&self) -> bool {
        self.searches_left > 0 && self.failures_left > 0
    }

    fn count(&mut self, explanation: &Explanation) {
        self.searches_left -= 1;
        if explanation.differences.is_empty() {
            self.failures_left -= 1;
        }
    }

    fn search_range<'a>(&mut self, range: DifferingRange<'a>, bytes: &[u8]) -> PinpointedRange<'a> {
        let DifferingRange { offset, root, sealed, .. } = range;
        let subtree = Subtree { bytes, offset, root, sealed };
        let mut results =
            PinpointedRange { range, explanations: Vec::new(), not_searched: Vec::new() };
        let progress = self.progress;
        let stop = || progress.stopped();
        let Some((values, changed)) = self.chunks(&range, &subtree) else {
            if self.may_search() {
                let explanation = explain::block(&subtree, &stop);
                self.count(&explanation);
                results.explanations.push(explanation);
            } else {
                results.not_searched.push([offset, offset + bytes.len() as u64]);
            }
            return results;
        };
        for index in changed {
            if self.may_search() {
                let explanation = explain::chunk(&subtree, index, &values[index], &stop);
                self.count(&explanation);
                results.explanations.push(explanation);
                continue;
            }
            let [start, end] = explain::chunk_range(&subtree, index);
            match results.not_searched.last_mut() {
                Some(last) if last[1] == start => last[1] = end,
                _ => results.not_searched.push([start, end]),
            }
        }
        results
    }

    /// Returns the sealed values of the chunks of a block, and the indices of the changed ones. Chunk digests that do not
    /// match the seal are not used any further.
    fn chunks(
        &mut self,
        range: &DifferingRange<'_>,
        subtree: &Subtree<'_>,
    ) -> Option<(Vec<ChainingValue>, Vec<usize>)> {
        let RangeSubject::Tensor(tensor) = range.subject else { return None };
        let chunk_digests = self.chunk_digests.as_ref()?;
        let read = chunk_digests.values(tensor, range.offset);
        let error = match read {
            Ok(values) if values.is_empty() => return None,
            Ok(values) => match explain::changed_chunks(subtree, &values) {
                Some(changed) => return Some((values, changed)),
                None => chunk_digests.mismatch(tensor, range.offset),
            },
            Err(error) => error,
        };
        self.sidecar_error = Some(error);
        self.chunk_digests = None;
        None
    }
}
