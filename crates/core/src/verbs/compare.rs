//! The `compare` command: which weights of two models differ, and how.

use super::{Error, ModelScope, RunInputs, open};
use crate::compare::measure;
use crate::document::{ComparisonUsed, Coverage, ModelSummary, Report};
use crate::judge::{self, Verdict, structure};
use std::path::Path;
use std::sync::Arc;
use tensorseal_base::severity::Severity;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{EngineUse, RunOptions, RunReport};

/// Options of [`compare`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CompareOptions {
    /// Which files belong to the models.
    pub opening: ModelScope,
    /// How the models are measured.
    pub run: RunOptions,
    /// Reports the progress of the run, and can stop it.
    pub progress: Arc<Progress>,
    /// The lowest severity that fails. Any difference fails as well.
    pub fail_on: Severity,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            opening: ModelScope::default(),
            run: RunOptions::default(),
            progress: Arc::default(),
            fail_on: Severity::Medium,
        }
    }
}

/// Compares the weights of two models in any formats.
///
/// # Errors
/// Returns an error if a model cannot be read, is malformed, has no weights, or changed during the run.
pub fn compare(path: &Path, other: &Path, options: &CompareOptions) -> Result<Report, Error> {
    let models = [path, other].map(|path| open::open_weights(path, options.opening));
    let [first, second] = models;
    let models = [first?, second?];
    let compared = measure([&models[0], &models[1]], &options.run, &options.progress)?;
    let run = &compared.sides[1].run;
    let (comparison, findings) = judge::compare::judge(&compared);
    let mut report = Report::new("compare", &path.display().to_string());
    report.note_run(run);
    report.model = ModelSummary::from_headers(&models[0]);
    let checked = models.iter().map(|model| model.distinct_bytes(0..model.tensors.len())).sum();
    report.coverage = Coverage::new(&models[0], None, checked);
    report.coverage.add(&models[1], None);
    report.engine = Some(engine(&compared.sides[0].run, run));
    report.findings = findings;
    for model in &models {
        report.findings.extend(structure::weight_findings(model));
        report.findings.extend(model.remarks.iter().map(structure::finding));
    }
    for side in &compared.sides {
        report.findings.extend(structure::unknown_quantisation(side.model, &side.weights));
    }
    report.judge(options.fail_on);
    if !comparison.is_identical() {
        // Any difference fails, however small.
        report.conclude(Verdict::Fail);
    }
    report.comparison =
        Some(ComparisonUsed { other: ModelSummary::from_headers(&models[1]), comparison });
    RunInputs::default().check_unchanged(&[&models[0], &models[1]])?;
    Ok(report)
}

/// Combines the engine use of both runs.
fn engine(first: &RunReport, second: &RunReport) -> EngineUse {
    let mut whole = second.engine.clone();
    whole.bytes_read += first.engine.bytes_read;
    whole.seconds += first.engine.seconds;
    whole.cross_checked += first.engine.cross_checked;
    whole
}
