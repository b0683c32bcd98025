//! Compares a model with everything that is expected of it, in one fixed sequence.
//!
//! Layouts that cannot be read from the model are recovered from a seal. Every byte is measured once. The measurement is
//! compared with each seal, changes are searched for bit flips, and weights and code are judged on request. `verify`,
//! a gate and a registry scan differ in their [`Expectations`] and in how the bytes are read. The caller reads them, and
//! can keep a journal or compute digests for a signature in the same pass.

use super::flips::{self, SealComparison};
use super::{Examination, sidecar, signature_files, weights};
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

/// Everything that a model is checked against in one pass.
#[derive(Clone, Default)]
pub struct Expectations<'a> {
    /// The seal that layouts are recovered from if headers cannot be read.
    pub layout: Option<&'a Seal>,
    /// The seal that tells which files are compared as bytes although tensors can be read from them: an older version
    /// made the seal and did not read these files. It must be `None` if the expected model root comes from another
    /// source, since that root covers every tensor that can be read.
    pub bytes_reference: Option<&'a Seal>,
    /// The seals that the model is compared with, each on its own.
    pub seals: &'a [SealReference<'a>],
    /// Whether code that a loader would execute is searched for.
    pub code: bool,
    /// The CPU threads for everything that is read again.
    pub threads: Threads,
}

/// A seal that a model is compared with.
#[derive(Clone, Copy)]
pub struct SealReference<'a> {
    /// The seal to compare with.
    pub seal: &'a Seal,
    /// Whether differences in the container layout are ignored.
    pub content_only: bool,
    /// How changes are searched for bit flips; `None` turns the search off.
    pub search: Option<FlipSearch<'a>>,
}

/// How changes are searched for bit flips.
#[derive(Clone, Copy)]
pub struct FlipSearch<'a> {
    /// The path of the seal, which tells where its chunk digests are; `None` if they are not used.
    pub seal_path: Option<&'a Path>,
    /// The limits of the search; `None` to check the chunk digests only.
    pub limits: Option<SearchLimits>,
    /// Whether findings about the structure of the model are explained, too. With several seals each would explain them
    /// again, so at most one search may do so.
    pub explain_structure: bool,
}

/// The outcome of a check.
pub struct CheckOutcome {
    /// The model with the layout in which it was measured.
    pub model: Checkpoint,
    /// The measurements of the model.
    pub examined: Examination,
    /// The code in the model; empty if it was not searched for.
    pub code: CodeReport,
    /// The findings about the model.
    pub findings: GroupedFindings,
    /// For each damaged file, the severity of the worst difference that the damage explains: see
    /// [`structure::raise_severity`].
    pub explained: BTreeMap<String, Severity>,
}

/// The findings about a model, grouped by subject.
#[derive(Default)]
pub struct GroupedFindings {
    /// Findings about the structure.
    pub structure: Vec<Finding>,
    /// Findings about files that were compared as bytes: see [`Expectations::bytes_reference`].
    pub outdated: Vec<Finding>,
    /// Findings about code that a loader would execute.
    pub code: Vec<Finding>,
    /// Findings about the weights, if they were audited.
    pub weights: Vec<Finding>,
    /// The differences from each seal, in the order of [`Expectations::seals`].
    pub differences: Vec<Vec<Finding>>,
}

/// Checks an opened model against `expectations`. `measure` is called once, with the model in the layout in which it is
/// compared.
///
/// # Errors
/// Returns the error of `measure`, or an error if the model cannot be read again or changed.
pub fn check<E: From<RunError> + From<OpenError>>(
    mut model: Checkpoint,
    expectations: &Expectations<'_>,
    measure: impl FnOnce(&Checkpoint) -> Result<Examination, E>,
    progress: &Progress,
) -> Result<CheckOutcome, E> {
    let as_bytes =
        expectations.bytes_reference.map(|seal| layout::treat_as_bytes(&mut model, seal));
    let damaged = layout::recover_layouts(&mut model, expectations.layout);
    let mut findings = GroupedFindings {
        structure: structure::problems(&model, expectations.layout),
        outdated: outdated::compared_as_bytes(&as_bytes.unwrap_or_default()),
        ..GroupedFindings::default()
    };
    let examined = measure(&model)?;
    let code = match expectations.code {
        true => code::examine(&model)?,
        false => CodeReport::default(),
    };
    findings.code = judge::code::findings(&code);
    if let Some(audited) = &examined.audited {
        findings.weights = weights::judge(&model, audited, &expectations.threads, progress)?;
    }
    let mut explained = BTreeMap::new();
    for reference in expectations.seals {
        let comparison = MeasuredSide { model: &model, found: &examined.seal, damaged: &damaged };
        let (differences, by_damage) =
            comparison.compare_with(reference, &mut findings, &expectations.threads, progress)?;
        findings.differences.push(differences);
        for (path, severity) in by_damage {
            let worst = explained.entry(path).or_insert(severity);
            *worst = severity.max(*worst);
        }
    }
    Ok(CheckOutcome { model, examined, code, findings, explained })
}

/// A measured model that is compared with seals.
struct MeasuredSide<'a> {
    model: &'a Checkpoint,
    found: &'a Seal,
    damaged: &'a DamagedFiles,
}

impl MeasuredSide<'_> {
    /// Returns the differences from a seal, explained down to bit flips, and for each damaged file the severity of the worst
    /// difference that the damage explains. Findings about the structure are extended in place.
    fn compare_with(
        &self,
        reference: &SealReference<'_>,
        findings: &mut GroupedFindings,
        threads: &Threads,
        progress: &Progress,
    ) -> Result<(Vec<Finding>, BTreeMap<String, Severity>), RunError> {
        let MeasuredSide { model, found, damaged } = *self;
        let SealReference { seal: sealed, content_only, search } = *reference;
        let differences =
            integrity::compare(sealed, found, damaged, IntegrityOptions { content_only });
        let mut changes = differences.findings;
        signature_files::explain_added(model, &mut changes);
        if let Some(FlipSearch { seal_path, limits, explain_structure }) = search {
            let mut sidecar_findings = Vec::new();
            let chunk_digests =
                seal_path.and_then(|path| sidecar::open(path, sealed, &mut sidecar_findings));
            if let Some(limits) = limits {
                let compared = SealComparison { model, sealed, found, damaged: &damaged.headers };
                let structure_findings =
                    findings.structure.iter_mut().chain(&mut findings.outdated);
                let mut all: Vec<&mut Finding> =
                    structure_findings.filter(|_| explain_structure).chain(&mut changes).collect();
                let (search, _) =
                    flips::pinpoint(&compared, &mut all, chunk_digests, limits, threads, progress)?;
                let unusable = search.sidecar_error.zip(seal_path);
                sidecar_findings
                    .extend(unusable.map(|(error, path)| sidecar::finding(path, &error)));
            }
            changes.append(&mut sidecar_findings);
        }
        Ok((changes, differences.explained))
    }
}
