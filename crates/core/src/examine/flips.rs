//! Pinpointing what a comparison with a seal found changed.

use crate::judge::{Finding, flips};
use crate::pinpoint::chunk_digests::ChunkDigests;
use crate::pinpoint::differing_ranges::{DifferingRange, RangeSubject, differing_ranges};
use crate::pinpoint::search::{PinpointResult, PinpointedRange, SearchLimits, search};
use crate::seal::Seal;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::Checkpoint;

/// A model, what was sealed and what was found of it.
pub struct SealComparison<'a> {
    /// The model, opened.
    pub model: &'a Checkpoint,
    /// What it was when it was sealed.
    pub sealed: &'a Seal,
    /// What it is now.
    pub found: &'a Seal,
    /// Paths of the files whose header could not be read.
    pub damaged: &'a BTreeSet<String>,
}

/// Searches the places that the findings speak of, and adds to them what was found. Also says which
/// findings (by index) are explained to the last bit.
pub fn pinpoint<'a>(
    compared: &SealComparison<'a>,
    findings: &mut [&mut Finding],
    fine: Option<ChunkDigests<'_>>,
    limits: SearchLimits,
    threads: &Threads,
    progress: &Progress,
) -> Result<(PinpointResult<'a>, Vec<bool>), RunError> {
    let owners = FindingIndex::of(findings, compared.damaged);
    let mut wanted = differing_ranges(compared.sealed, compared.found);
    wanted.retain(|place| owners.owner(place, compared.sealed).is_some());
    let search = search(compared.model, wanted, fine, limits, threads, progress)?;
    let mut of_finding: BTreeMap<usize, Vec<&PinpointedRange<'_>>> = BTreeMap::new();
    for found in &search.ranges {
        if let Some(owner) = owners.owner(&found.range, compared.sealed) {
            of_finding.entry(owner).or_default().push(found);
        }
    }
    let mut explained = vec![false; findings.len()];
    for (owner, places) in of_finding {
        explained[owner] = places.iter().all(|found| found.is_explained());
        match places.first().map(|found| found.range.subject) {
            Some(RangeSubject::Tensor(tensor)) => {
                let tensor = &compared.sealed.tensors[tensor];
                flips::describe_tensor(findings[owner], tensor, &places);
            }
            _ => flips::describe_bytes(findings[owner], &places),
        }
    }
    Ok((search, explained))
}

/// Which finding speaks of which place.
struct FindingIndex {
    tensors: HashMap<String, usize>,
    files: HashMap<String, usize>,
}

impl FindingIndex {
    fn of(findings: &[&mut Finding], damaged: &BTreeSet<String>) -> FindingIndex {
        let mut owners = FindingIndex { tensors: HashMap::new(), files: HashMap::new() };
        for (index, finding) in findings.iter().enumerate() {
            match (finding.rule, &finding.tensor, &finding.file) {
                // What holds the content of another tensor has no flipped bits.
                ("integrity/tensor-changed", Some(tensor), _) if finding.other_tensor.is_none() => {
                    owners.tensors.entry(tensor.clone()).or_insert(index);
                }
                ("integrity/header-changed" | "integrity/file-changed", _, Some(file)) => {
                    owners.files.entry(file.clone()).or_insert(index);
                }
                (_, _, Some(file)) if damaged.contains(file) => {
                    owners.files.entry(file.clone()).or_insert(index);
                }
                _ => {}
            }
        }
        owners
    }

    fn owner(&self, place: &DifferingRange<'_>, sealed: &Seal) -> Option<usize> {
        match place.subject {
            RangeSubject::Tensor(tensor) => {
                self.tensors.get(sealed.tensors[tensor].name.as_str()).copied()
            }
            RangeSubject::Gap(file) | RangeSubject::File(file) => self.files.get(file).copied(),
        }
    }
}
