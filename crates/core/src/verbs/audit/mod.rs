//! The `audit` command: finds problems in the weights of a model without a reference.

mod extraction_directory;

use super::baseline::{self, Baseline, BaselineComparison};
use super::{Error, ModelScope, RunInputs, locations, open, profiles};
use crate::audit::{self, AuditMeasurements};
use crate::document::{AuditExtent, Report, safe_text};
use crate::examine::weights;
use crate::judge::{self, Finding, structure};
use extraction_directory::ExtractionDirectory;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorseal_base::severity::Severity;
use tensorseal_base::units;
use tensorseal_code as code;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunOptions, Threads};
use tensorseal_format::Checkpoint;

/// The exit code of a command that could not be completed.
const INCOMPLETE: u8 = 3;

/// Options of [`audit`](fn@audit).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AuditOptions {
    /// A seal or another model that the weights are compared with.
    pub baseline: Option<PathBuf>,
    /// A new directory to which suspicious streams are written as found. They are never executed.
    pub extract: Option<PathBuf>,
    /// Whether weights that were not audited and unrecognised files prevent a pass.
    pub require_all: bool,
    /// Which files belong to the model.
    pub opening: ModelScope,
    /// How the model is measured.
    pub run: RunOptions,
    /// Reports the progress of the run, and can stop it.
    pub progress: Arc<Progress>,
    /// Whether the report lists the facts of all tensors.
    pub list_tensors: bool,
    /// The lowest severity that fails.
    pub fail_on: Severity,
}

impl Default for AuditOptions {
    /// Returns the default options: an audit without a baseline.
    fn default() -> Self {
        Self {
            baseline: None,
            extract: None,
            require_all: false,
            opening: ModelScope::default(),
            run: RunOptions::default(),
            progress: Arc::default(),
            list_tensors: false,
            fail_on: Severity::Medium,
        }
    }
}

/// Audits the model at a path.
///
/// # Errors
/// Returns an error if the model or the baseline cannot be read or changed during the run, or if streams cannot be
/// extracted.
pub fn audit(path: &Path, options: &AuditOptions) -> Result<Report, Error> {
    open::refuse_cache(path)?;
    options.baseline.as_deref().map(open::refuse_cache).transpose()?;
    options.extract.as_deref().map(extraction_directory::require_new).transpose()?;
    let mut report = Report::new("audit", &path.display().to_string());
    let named = options.baseline.as_deref();
    let seals = locations::seals_inside(path, baseline::seal_path(named));
    let mut open_options = options.opening.options();
    open_options.seals = seals;
    let model = Checkpoint::open(path, &open_options)?;
    let mut inputs = RunInputs::default();
    let baseline = baseline::open(named, path, options.opening, &mut inputs, &mut report)?;
    let (audited, compared, found) = measure(&model, baseline, options)?;
    report.fill(&model, &audited.model, &audited.run);
    let extraction = match &options.extract {
        Some(directory) => Some(ExtractionDirectory::write(&model, &found, directory)?),
        None => None,
    };
    report.findings.extend(found);
    if let Some(compared) = &compared {
        report.notes.extend(compared.note());
        report.findings.extend(compared.findings(&model, &audited));
    }
    if options.list_tensors {
        let facts = audited.facts.iter().map(
            |facts| serde_json::json!({"name": model.tensors[facts.tensor].name, "facts": facts}),
        );
        report.tensors = Some(facts.collect());
    }
    report.judge(options.fail_on);
    open::downgrade_without_weights(&mut report, &model);
    if options.require_all {
        downgrade_incomplete(&mut report);
    }
    report.profiles = profiles::audited(&report, &model, &audited);
    report.audited = Some(extent(&model, &audited));
    let temporary = extraction.as_ref().and_then(ExtractionDirectory::temporary);
    temporary.into_iter().for_each(|directory| inputs.record_output(directory));
    let original = compared.and_then(BaselineComparison::into_original);
    inputs.check_unchanged(&[&model].into_iter().chain(&original).collect::<Vec<_>>())?;
    if let Some(extraction) = extraction {
        report.notes.push(extraction.keep()?);
    }
    Ok(report)
}

fn measure(
    model: &Checkpoint,
    baseline: Option<Baseline>,
    options: &AuditOptions,
) -> Result<(AuditMeasurements, Option<BaselineComparison>, Vec<Finding>), Error> {
    let (run, progress) = (&options.run, &*options.progress);
    let audited = audit::measure(model, run, progress)?;
    let compared =
        baseline.map(|baseline| baseline.compare(model, &audited, run, progress)).transpose()?;
    let found = findings(model, &audited, &run.threads, progress)?;
    Ok((audited, compared, found))
}

/// Returns the findings of an audit without a baseline: about the structure, the weights and the companion files.
/// Weights in two formats are read a second time.
///
/// # Errors
/// Returns an error if the model cannot be read again.
pub fn findings(
    model: &Checkpoint,
    audited: &AuditMeasurements,
    threads: &Threads,
    progress: &Progress,
) -> Result<Vec<Finding>, Error> {
    let mut found: Vec<Finding> = model.problems.iter().map(structure::finding).collect();
    found.extend(weights::judge(model, audited, threads, progress)?);
    found.extend(judge::code::findings(&code::examine(model)?));
    Ok(found)
}

/// Returns how much was audited.
fn extent(model: &Checkpoint, audited: &AuditMeasurements) -> AuditExtent {
    let is_weight = |facts: &&audit::TensorFacts| model.tensors[facts.tensor].dtype.is_float();
    let weights = audited.facts.iter().filter(is_weight).count();
    AuditExtent {
        weights: weights as u64,
        others: (model.tensors.len() - weights) as u64,
        page_share: audited.page_share,
    }
}

/// Downgrades a pass if weights were not audited, or if there are unrecognised files that could contain some.
fn downgrade_incomplete(report: &mut Report) {
    let coverage = &report.coverage;
    let unrecognised = coverage.not_understood.len() as u64;
    let why = coverage.not_audited().or_else(|| {
        let first = coverage.not_understood.first()?;
        let first = safe_text::word(&first.path);
        let files = units::count(unrecognised, "unrecognised file");
        Some(format!("{files} (first: {first})"))
    });
    if let Some(why) = why {
        report.downgrade_pass(format!("--require-all: {why}"), INCOMPLETE);
    }
}
