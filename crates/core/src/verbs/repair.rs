//! The `repair` command: writes a copy of a damaged model in which flipped bits are restored.

use super::{Error, ModelScope, RunInputs, locations, open, output, reference_seal};
use crate::document::Report;
use crate::examine::flips::{self, SealComparison};
use crate::examine::sidecar;
use crate::judge::integrity::{self, IntegrityOptions};
use crate::judge::{Finding, Verdict};
use crate::pinpoint::search::SearchLimits;
use crate::repair::{self, RepairError};
use crate::seal::Seal;
use crate::seal::layout::{self, DamagedFiles};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorseal_base::severity::Severity;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunOptions, RunReport};
use tensorseal_format::Checkpoint;

/// Options of [`repair`](fn@repair).
#[derive(Debug, Clone)]
pub struct RepairOptions {
    /// The seal of the model (default: where `seal` writes it).
    pub seal: Option<PathBuf>,
    /// The output path of the copy, which must not exist.
    pub output: PathBuf,
    /// The limits of the search for bit flips.
    pub limits: SearchLimits,
    /// Which files belong to the model.
    pub opening: ModelScope,
    /// How the model is measured.
    pub run: RunOptions,
    /// Reports the progress of the run, and can stop it.
    pub progress: Arc<Progress>,
    /// The lowest severity that fails.
    pub fail_on: Severity,
}

impl RepairOptions {
    /// Returns the default options: a copy at `output`, with the default seal of the model.
    pub fn new(output: impl Into<PathBuf>) -> Self {
        Self {
            seal: None,
            output: output.into(),
            limits: SearchLimits::default(),
            opening: ModelScope::default(),
            run: RunOptions::default(),
            progress: Arc::default(),
            fail_on: Severity::Medium,
        }
    }
}

/// The result of [`repair`](fn@repair).
#[derive(Debug)]
pub struct Repair {
    /// The report.
    pub report: Report,
    /// What was done.
    pub outcome: RepairOutcome,
}

/// What was done to repair a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairOutcome {
    /// Nothing was written: the seal cannot be used.
    NoSeal,
    /// Nothing was written: the model matches its seal.
    Intact,
    /// A copy was written that matches the seal.
    Written {
        /// The number of restored bytes.
        bytes: usize,
    },
    /// Nothing was written: not all changes are explained by bit flips.
    Unknown,
}

/// Writes a repaired copy of the model at a path.
///
/// # Errors
/// Returns an error if there is no seal, if the model or the seal cannot be read or changed during the run, or if the
/// copy cannot be written.
pub fn repair(path: &Path, options: &RepairOptions) -> Result<Repair, Error> {
    open::refuse_cache(path)?;
    let mut report = Report::new("repair", &path.display().to_string());
    let mut inputs = RunInputs::default();
    let named = options.seal.as_deref();
    let sealed = reference_seal::read(path, named, false, &mut inputs, &mut report)?;
    output::check_copy(path, &options.output)?;
    let Some(sealed) = sealed else {
        // Without a valid seal it is unknown what the model was.
        inputs.check_unchanged(&[])?;
        report.judge(options.fail_on);
        return Ok(Repair { report, outcome: RepairOutcome::NoSeal });
    };
    let mut open_options = options.opening.options();
    open_options.seals = locations::seals_inside(path, named);
    open_options.signatures = locations::signatures_inside(path, Some(&sealed));
    open_options.expected_files = Some(sealed.naming_files());
    let mut model = Checkpoint::open(path, &open_options)?;
    layout::apply_layouts(&mut model, &sealed);
    let mut findings = Vec::new();
    let (outcome, found, run) =
        measure_and_repair(options, (path, &model, &inputs), &sealed, &mut findings)?;
    if !matches!(outcome, RepairOutcome::Written { .. }) {
        inputs.check_unchanged(&[&model])?;
    }
    report.fill(&model, &found.model, &run);
    report.findings.append(&mut findings);
    report.judge(options.fail_on);
    if outcome == RepairOutcome::Unknown && report.verdict == Verdict::Pass {
        // Nothing was repaired, whatever the severities are.
        report.conclude(Verdict::Fail);
    }
    Ok(Repair { report, outcome })
}

/// Measures the model in the layout of the seal, compares it, and searches for bit flips. Nothing is written unless all
/// differences are explained.
fn measure_and_repair(
    options: &RepairOptions,
    (path, model, inputs): (&Path, &Checkpoint, &RunInputs),
    sealed: &Seal,
    findings: &mut Vec<Finding>,
) -> Result<(RepairOutcome, Seal, RunReport), Error> {
    let (run_options, progress) = (&options.run, &*options.progress);
    let (found, run) = repair::measure_as_sealed(model, sealed, run_options, progress)?;
    *findings =
        integrity::compare(sealed, &found, &DamagedFiles::default(), IntegrityOptions::default())
            .findings;
    if findings.is_empty() {
        return Ok((RepairOutcome::Intact, found, run));
    }
    let place = reference_seal::place(path, options.seal.as_deref());
    let mut sidecar_findings = Vec::new();
    let chunk_digests = sidecar::open(&place, sealed, &mut sidecar_findings);
    let compared = SealComparison { model, sealed, found: &found, damaged: &BTreeSet::new() };
    let mut all: Vec<&mut Finding> = findings.iter_mut().collect();
    let threads = &run_options.threads;
    let (search, explained) =
        flips::pinpoint(&compared, &mut all, chunk_digests, options.limits, threads, progress)?;
    sidecar_findings.extend(search.sidecar_error.map(|error| sidecar::finding(&place, &error)));
    if explained.contains(&false) {
        findings.append(&mut sidecar_findings);
        return Ok((RepairOutcome::Unknown, found, run));
    }
    let patches = repair::patches(model, &search.ranges);
    let check_inputs = || inputs.check_unchanged(&[model]);
    let out = (options.output.as_path(), &check_inputs as &dyn Fn() -> _);
    match repair::write(model, sealed, &patches, out, run_options, progress) {
        Ok((found, run)) => {
            // The findings are about the damaged model, not about the copy.
            findings.iter_mut().for_each(|finding| finding.severity = Severity::Info);
            // The problems of the sidecar did not prevent the repair.
            sidecar_findings.iter_mut().for_each(|finding| finding.severity = Severity::Low);
            findings.append(&mut sidecar_findings);
            Ok((RepairOutcome::Written { bytes: patches.len() }, found, run))
        }
        Err(RepairError::Remaining(remaining)) => {
            *findings = remaining;
            findings.append(&mut sidecar_findings);
            Ok((RepairOutcome::Unknown, found, run))
        }
        Err(RepairError::Run(error)) => Err(error.into()),
        Err(RepairError::Copy(error)) => Err(error.into()),
        Err(RepairError::Open(error)) => Err(error.into()),
    }
}
