//! Holding a model to seals: the one sequence of everything that does.
//!
//! A sealed layout stands in where the model's own cannot be read; every byte is measured once; what was found is
//! compared with each seal; what changed is searched for flipped bits; and the weights and the code are judged, where
//! they are looked at. `verify`, a gate and a scan of a registry differ in what they ask for ([`Expectations`]) and in how
//! the bytes are read: that is left to the caller, who may keep a journal of it or read digests for a signature
//! along.

use super::flips::{self, SealComparison};
use super::{Examination, sidecar, weights};
use crate::judge::integrity::{self, IntegrityOptions};
use crate::judge::{self, Finding, outdated, structure};
use crate::pinpoint::search::SearchLimits;
use crate::seal::Seal;
use crate::seal::layout::{self, DamagedFiles};
use std::collections::BTreeMap;
use std::path::Path;
use tensorseal_base::severity::Severity;
use tensorseal_code::{self as code, CodeReport};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::{Checkpoint, OpenError};

/// What a model is held to, and what else is looked at.
#[derive(Clone, Default)]
pub struct Expectations<'a> {
    /// The seal whose layout stands in for headers that cannot be read.
    pub layout: Option<&'a Seal>,
    /// The seal that says which files are compared as bytes, although tensors are read from them today: an
    /// older version made it, and did not look into them. Not where the model root comes from elsewhere, which is
    /// that of every tensor that is read.
    pub bytes_reference: Option<&'a Seal>,
    /// What the model is compared with, each by itself.
    pub seals: &'a [SealReference<'a>],
    /// Whether what a loader would execute is looked for.
    pub code: bool,
    /// CPU threads for what is read again.
    pub threads: Threads,
}

/// A seal that a model is compared with.
#[derive(Clone, Copy)]
pub struct SealReference<'a> {
    /// The seal.
    pub seal: &'a Seal,
    /// Whether the container layout does not count.
    pub content_only: bool,
    /// What is done to say which bits flipped; none: nothing.
    pub search: Option<FlipSearch<'a>>,
}

/// A search for flipped bits in what changed.
#[derive(Clone, Copy)]
pub struct FlipSearch<'a> {
    /// Where the seal was read, beside which a fine sidecar can be; none: it is not looked for.
    pub seal_path: Option<&'a Path>,
    /// How much is searched; none: the sidecar is checked, and nothing is searched.
    pub limits: Option<SearchLimits>,
    /// Whether damage that the structure of the model shows is explained, too, and not only what the comparison
    /// found: where there is one seal. Of several, each would explain it again.
    pub explain_structure: bool,
}

/// What came of it.
pub struct CheckOutcome {
    /// The model, with the layout that it was measured in.
    pub model: Checkpoint,
    /// What was measured of it.
    pub examined: Examination,
    /// What of it is code; nothing where that was not looked for.
    pub code: CodeReport,
    /// What is said of it.
    pub findings: GroupedFindings,
    /// By file, the severity of the worst difference that its damage explains: see [`structure::worsen`].
    pub explained: BTreeMap<String, Severity>,
}

/// What is said of a model, by what it is about.
#[derive(Default)]
pub struct GroupedFindings {
    /// Its structure.
    pub structure: Vec<Finding>,
    /// Files that were compared as bytes: see [`Expectations::bytes_reference`].
    pub outdated: Vec<Finding>,
    /// What a loader would execute.
    pub code: Vec<Finding>,
    /// The weights, if they were audited.
    pub weights: Vec<Finding>,
    /// The differences from each seal, in the order of [`Expectations::seals`].
    pub differences: Vec<Vec<Finding>>,
}

/// Holds an opened model to what is asked for. `measure` measures it in the layout that it is compared in.
///
/// # Errors
/// Those of `measure`; that it cannot be read again.
pub fn check<E: From<RunError> + From<OpenError>>(
    mut model: Checkpoint,
    holding: &Expectations<'_>,
    measure: impl FnOnce(&Checkpoint) -> Result<Examination, E>,
    progress: &Progress,
) -> Result<CheckOutcome, E> {
    let as_bytes = holding.bytes_reference.map(|seal| layout::treat_as_bytes(&mut model, seal));
    let damaged = layout::recover_layouts(&mut model, holding.layout);
    let mut said = GroupedFindings {
        structure: structure::problems(&model, holding.layout),
        outdated: outdated::compared_as_bytes(&as_bytes.unwrap_or_default()),
        ..GroupedFindings::default()
    };
    let examined = measure(&model)?;
    let code = match holding.code {
        true => code::examine(&model)?,
        false => CodeReport::default(),
    };
    said.code = judge::code::findings(&code);
    if let Some(audited) = &examined.audited {
        said.weights = weights::judge(&model, audited, &holding.threads, progress)?;
    }
    let mut explained = BTreeMap::new();
    for held_to in holding.seals {
        let comparison = MeasuredSide { model: &model, found: &examined.seal, damaged: &damaged };
        let (differences, by_damage) =
            comparison.compare_with(held_to, &mut said, &holding.threads, progress)?;
        said.differences.push(differences);
        for (path, severity) in by_damage {
            let worst = explained.entry(path).or_insert(severity);
            *worst = severity.max(*worst);
        }
    }
    Ok(CheckOutcome { model, examined, code, findings: said, explained })
}

/// What was found of a model, to be compared.
struct MeasuredSide<'a> {
    model: &'a Checkpoint,
    found: &'a Seal,
    damaged: &'a DamagedFiles,
}

impl MeasuredSide<'_> {
    /// The differences from a seal, down to flipped bits, and what damage explains.
    fn compare_with(
        &self,
        held_to: &SealReference<'_>,
        said: &mut GroupedFindings,
        threads: &Threads,
        progress: &Progress,
    ) -> Result<(Vec<Finding>, BTreeMap<String, Severity>), RunError> {
        let MeasuredSide { model, found, damaged } = *self;
        let SealReference { seal: sealed, content_only, search } = *held_to;
        let differences =
            integrity::compare(sealed, found, damaged, IntegrityOptions { content_only });
        let mut changes = differences.findings;
        if let Some(FlipSearch { seal_path, limits, explain_structure: damage }) = search {
            let mut of_fine = Vec::new();
            let fine = seal_path.and_then(|path| sidecar::open(path, sealed, &mut of_fine));
            if let Some(limits) = limits {
                let compared = SealComparison { model, sealed, found, damaged: &damaged.headers };
                let beside = said.structure.iter_mut().chain(&mut said.outdated);
                let mut all: Vec<&mut Finding> =
                    beside.filter(|_| damage).chain(&mut changes).collect();
                let (search, _) =
                    flips::pinpoint(&compared, &mut all, fine, limits, threads, progress)?;
                let broken = search.sidecar_error.zip(seal_path);
                of_fine.extend(broken.map(|(error, path)| sidecar::finding(path, &error)));
            }
            changes.append(&mut of_fine);
        }
        Ok((changes, differences.explained))
    }
}
