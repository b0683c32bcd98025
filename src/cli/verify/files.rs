//! A model that is held to a signature alone: its files are hashed, and nothing else.

use super::Asked;
use crate::cli::signing::check::Checked;
use crate::cli::{Failure, running};
use tensorseal::checkpoint::Checkpoint;
use tensorseal::judge::{signature, structure};
use tensorseal::report::Report;

/// Hashes what was signed, and compares it.
pub fn verify(
    asked: &Asked<'_>,
    checked: &Checked,
    model: &Checkpoint,
    report: &mut Report,
) -> Result<(), Failure> {
    let args = asked.args;
    let options = running::run_options(&args.measuring);
    let (digests, run) = running::watched(&args.measuring, args.common.quiet, |progress| {
        checked.hash(model, &options, progress)
    })?;
    running::say_who_measured(&run, args.common.quiet);
    running::fill_files(report, model, &run);
    report.findings.extend(model.problems.iter().map(|problem| {
        let mut finding = structure::finding(problem);
        signature::soften(&mut finding);
        finding
    }));
    let outcome = checked.compare(model, &digests, (&args.signature, &args.opening), report)?;
    report.findings.extend(outcome.findings);
    Ok(())
}
