//! A copy of a damaged model with the flipped bits put back, held to its seal.

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
use tensorseal_format::{Checkpoint, OpenOptions};

/// What is repaired, and where the copy is to be.
#[derive(Debug, Clone)]
pub struct RepairOptions {
    /// The seal that says what the model was (default: where `seal` writes it).
    pub seal: Option<PathBuf>,
    /// Where the copy is written: nothing may be there.
    pub output: PathBuf,
    /// How much is searched for flipped bits.
    pub limits: SearchLimits,
    /// What belongs to the model.
    pub opening: ModelScope,
    /// How it is measured.
    pub run: RunOptions,
    /// What watches the run, and can stop it.
    pub progress: Arc<Progress>,
    /// The lowest severity that fails.
    pub fail_on: Severity,
}

impl RepairOptions {
    /// A copy at this place, by the seal beside the model.
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

/// What came of it.
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
    /// Nothing: the seal says nothing that can be relied on.
    NoSeal,
    /// Nothing: the model is the sealed one.
    Intact,
    /// A copy was written that is the sealed model.
    Written {
        /// Bytes that were put back.
        bytes: usize,
    },
    /// Nothing: not all that changed is known to the bit.
    Unknown,
}

/// Writes a repaired copy of the model at a path.
///
/// # Errors
/// There is no seal; the model or the seal cannot be read, or changed under the run; the copy cannot be written.
pub fn repair(path: &Path, options: &RepairOptions) -> Result<Repair, Error> {
    open::refuse_cache(path)?;
    let mut report = Report::new("repair", &path.display().to_string());
    let mut inputs = RunInputs::default();
    let named = options.seal.as_deref();
    let sealed = reference_seal::read(path, named, false, &mut inputs, &mut report)?;
    output::check_copy(path, &options.output)?;
    let Some(sealed) = sealed else {
        // A seal that cannot be used says nothing of what the model was.
        inputs.check_unchanged(&[])?;
        report.judge(options.fail_on);
        return Ok(Repair { report, outcome: RepairOutcome::NoSeal });
    };
    let how = OpenOptions {
        seals: locations::seals_inside(path, named),
        signatures: locations::signatures_inside(path, Some(&sealed)),
        expected_files: Some(sealed.naming_files()),
        ..options.opening.options()
    };
    let mut model = Checkpoint::open(path, &how)?;
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
        // Whatever is let pass elsewhere: nothing was repaired.
        report.conclude(Verdict::Fail);
    }
    Ok(Repair { report, outcome })
}

/// Measures, compares and pinpoints, in the layout that the seal imposes: each sealed digest has its bytes, and
/// everything that differs must be explained before anything is written.
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
    let mut of_fine = Vec::new();
    let fine = sidecar::open(&place, sealed, &mut of_fine);
    let compared = SealComparison { model, sealed, found: &found, damaged: &BTreeSet::new() };
    let mut all: Vec<&mut Finding> = findings.iter_mut().collect();
    let threads = &run_options.threads;
    let (search, explained) =
        flips::pinpoint(&compared, &mut all, fine, options.limits, threads, progress)?;
    of_fine.extend(search.sidecar_error.map(|error| sidecar::finding(&place, &error)));
    if explained.contains(&false) {
        findings.append(&mut of_fine);
        return Ok((RepairOutcome::Unknown, found, run));
    }
    let patches = repair::patches(model, &search.ranges);
    let settled = || inputs.check_unchanged(&[model]);
    let out = (options.output.as_path(), &settled as &dyn Fn() -> _);
    match repair::write(model, sealed, &patches, out, run_options, progress) {
        Ok((found, run)) => {
            // They are true of the model that was read, and of the copy no more.
            findings.iter_mut().for_each(|finding| finding.severity = Severity::Info);
            // What is wrong with the sidecar did no harm.
            of_fine.iter_mut().for_each(|finding| finding.severity = Severity::Low);
            findings.append(&mut of_fine);
            Ok((RepairOutcome::Written { bytes: patches.len() }, found, run))
        }
        Err(RepairError::Remaining(remaining)) => {
            *findings = remaining;
            findings.append(&mut of_fine);
            Ok((RepairOutcome::Unknown, found, run))
        }
        Err(RepairError::Run(error)) => Err(error.into()),
        Err(RepairError::Copy(error)) => Err(error.into()),
        Err(RepairError::Open(error)) => Err(error.into()),
    }
}
