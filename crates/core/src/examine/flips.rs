//! Pinpoints bit flips in the changes that a comparison with a seal found.

use crate::judge::{Finding, flips};
use crate::pinpoint::chunk_digests::ChunkDigests;
use crate::pinpoint::differing_ranges::{DifferingRange, RangeSubject, differing_ranges};
use crate::pinpoint::search::{PinpointResult, PinpointedRange, SearchLimits, search};
use crate::seal::Seal;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::Checkpoint;

/// A model with its seal and its measurement.
pub struct SealComparison<'a> {
    /// The opened model.
    pub model: &'a Checkpoint,
    /// The seal of the model.
    pub sealed: &'a Seal,
    /// What was measured now, in the form of a seal.
    pub found: &'a Seal,
    /// The paths of the files whose header could not be read.
    pub damaged: &'a BTreeSet<String>,
}

/// Searches the byte ranges that the findings are about, and adds the pinpointed changes to the findings.
///
/// Also returns, for each finding, whether every changed bit is explained.
///
/// # Errors
/// Returns a [`RunError`] if the model cannot be read or changed, or if the run was interrupted.
pub fn pinpoint<'a>(
    compared: &SealComparison<'a>,
    findings: &mut [&mut Finding],
    chunk_digests: Option<ChunkDigests<'_>>,
    limits: SearchLimits,
    threads: &Threads,
    progress: &Progress,
) -> Result<(PinpointResult<'a>, Vec<bool>), RunError> {
    let index = FindingIndex::new(findings, compared.damaged);
    let mut ranges = differing_ranges(compared.sealed, compared.found);
    ranges.retain(|range| index.owner(range, compared.sealed).is_some());
    let search = search(compared.model, ranges, chunk_digests, limits, threads, progress)?;
    let mut by_finding: BTreeMap<usize, Vec<&PinpointedRange<'_>>> = BTreeMap::new();
    for found in &search.ranges {
        if let Some(owner) = index.owner(&found.range, compared.sealed) {
            by_finding.entry(owner).or_default().push(found);
        }
    }
    let mut explained = vec![false; findings.len()];
    for (owner, pinpointed) in by_finding {
        explained[owner] = pinpointed.iter().all(|found| found.is_explained());
        match pinpointed.first().map(|found| found.range.subject) {
            Some(RangeSubject::Tensor(tensor)) => {
                let tensor = &compared.sealed.tensors[tensor];
                flips::describe_tensor(findings[owner], tensor, &pinpointed);
            }
            _ => flips::describe_bytes(findings[owner], &pinpointed),
        }
    }
    Ok((search, explained))
}

/// Maps byte ranges to the findings about them.
struct FindingIndex {
    tensors: HashMap<String, usize>,
    files: HashMap<String, usize>,
}

impl FindingIndex {
    fn new(findings: &[&mut Finding], damaged: &BTreeSet<String>) -> FindingIndex {
        let mut by_subject = FindingIndex { tensors: HashMap::new(), files: HashMap::new() };
        for (index, finding) in findings.iter().enumerate() {
            match (finding.rule, &finding.tensor, &finding.file) {
                // A tensor with the content of another tensor was swapped and has no bit flips.
                ("integrity/tensor-changed", Some(tensor), _) if finding.other_tensor.is_none() => {
                    by_subject.tensors.entry(tensor.clone()).or_insert(index);
                }
                ("integrity/header-changed" | "integrity/file-changed", _, Some(file)) => {
                    by_subject.files.entry(file.clone()).or_insert(index);
                }
                (_, _, Some(file)) if damaged.contains(file) => {
                    by_subject.files.entry(file.clone()).or_insert(index);
                }
                _ => {}
            }
        }
        by_subject
    }

    fn owner(&self, range: &DifferingRange<'_>, sealed: &Seal) -> Option<usize> {
        match range.subject {
            RangeSubject::Tensor(tensor) => {
                self.tensors.get(sealed.tensors[tensor].name.as_str()).copied()
            }
            RangeSubject::Gap(file) | RangeSubject::File(file) => self.files.get(file).copied(),
        }
    }
}
