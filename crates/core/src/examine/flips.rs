//! Pinpointing what a comparison with a seal found changed.

use crate::judge::{Finding, flips};
use crate::pinpoint::fine::Fine;
use crate::pinpoint::places::{Place, Subject, places};
use crate::pinpoint::search::{Limits, Pinpointed, Search, search};
use crate::seal::Seal;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::Checkpoint;

/// A model, what was sealed and what was found of it.
pub struct Compared<'a> {
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
    compared: &Compared<'a>,
    findings: &mut [&mut Finding],
    fine: Option<Fine<'_>>,
    limits: Limits,
    threads: &Threads,
    progress: &Progress,
) -> Result<(Search<'a>, Vec<bool>), RunError> {
    let owners = Owners::of(findings, compared.damaged);
    let mut wanted = places(compared.sealed, compared.found);
    wanted.retain(|place| owners.owner(place, compared.sealed).is_some());
    let search = search(compared.model, wanted, fine, limits, threads, progress)?;
    let mut of_finding: BTreeMap<usize, Vec<&Pinpointed<'_>>> = BTreeMap::new();
    for found in &search.places {
        if let Some(owner) = owners.owner(&found.place, compared.sealed) {
            of_finding.entry(owner).or_default().push(found);
        }
    }
    let mut explained = vec![false; findings.len()];
    for (owner, places) in of_finding {
        explained[owner] = places.iter().all(|found| found.is_explained());
        match places.first().map(|found| found.place.subject) {
            Some(Subject::Tensor(tensor)) => {
                let tensor = &compared.sealed.tensors[tensor];
                flips::describe_tensor(findings[owner], tensor, &places);
            }
            _ => flips::describe_bytes(findings[owner], &places),
        }
    }
    Ok((search, explained))
}

/// Which finding speaks of which place.
struct Owners {
    tensors: HashMap<String, usize>,
    files: HashMap<String, usize>,
}

impl Owners {
    fn of(findings: &[&mut Finding], damaged: &BTreeSet<String>) -> Owners {
        let mut owners = Owners { tensors: HashMap::new(), files: HashMap::new() };
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

    fn owner(&self, place: &Place<'_>, sealed: &Seal) -> Option<usize> {
        match place.subject {
            Subject::Tensor(tensor) => {
                self.tensors.get(sealed.tensors[tensor].name.as_str()).copied()
            }
            Subject::Outside(file) | Subject::File(file) => self.files.get(file).copied(),
        }
    }
}
