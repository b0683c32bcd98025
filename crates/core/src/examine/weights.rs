//! What an audit says of weights. Weights in two formats are read once more.

use crate::audit::AuditMeasurements;
use crate::compare::copies;
use crate::judge::{self, Finding, structure};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::Checkpoint;
use tensorseal_weights::Weights;

/// All findings of weights that were measured for an audit; what is wrong with the structure of the model is
/// not among them.
///
/// # Errors
/// When the copies of weights in another format cannot be read.
pub fn judge(
    model: &Checkpoint,
    audited: &AuditMeasurements,
    threads: &Threads,
    progress: &Progress,
) -> Result<Vec<Finding>, RunError> {
    let digests = audited.facts.iter().map(|f| (f.tensor, f.digest)).collect();
    let copies = copies::measure(model, &digests, threads, progress)?;
    let mut found = judge::compare::copies(model, &copies);
    let weights = Weights::from_checkpoint(model);
    found.extend(structure::unknown_quantisation(model, &weights));
    found.extend(judge::audit::judge(model, audited));
    found.extend(judge::audit::scales::judge(model, audited, &weights));
    Ok(found)
}
