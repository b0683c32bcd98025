//! Judges the weights of an audited model. Weights that exist in two formats are read once more to compare them.

use crate::audit::AuditMeasurements;
use crate::compare::copies;
use crate::judge::{self, Finding, structure};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::Checkpoint;
use tensorseal_weights::Weights;

/// Returns all findings about weights that were measured for an audit, except for those about the structure of the
/// model.
///
/// # Errors
/// Returns a [`RunError`] if copies of weights in another format cannot be read, or if the run was interrupted.
pub fn judge(
    model: &Checkpoint,
    audited: &AuditMeasurements,
    threads: &Threads,
    progress: &Progress,
) -> Result<Vec<Finding>, RunError> {
    let digests = audited.facts.iter().map(|f| (f.tensor, f.digest)).collect();
    let copies = copies::measure(model, &digests, threads, progress)?;
    let mut findings = judge::compare::copies(model, &copies);
    let weights = Weights::from_checkpoint(model);
    findings.extend(structure::unknown_quantisation(model, &weights));
    findings.extend(judge::audit::judge(model, audited));
    findings.extend(judge::audit::scales::judge(model, audited, &weights));
    Ok(findings)
}
