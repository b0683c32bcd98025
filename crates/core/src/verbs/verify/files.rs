//! A model that is held to a signature alone: its files are hashed, and nothing else.

use super::VerifyRequest;
use crate::document::Report;
use crate::judge::{signature, structure};
use crate::verbs::signature::VerifiedSignature;
use crate::verbs::{Error, SignatureOptions};
use tensorseal_format::Checkpoint;

/// Hashes what was signed, and compares it.
pub(super) fn verify(
    asked: &VerifyRequest<'_>,
    (verified, of_signature): (&VerifiedSignature, &SignatureOptions),
    model: &Checkpoint,
    report: &mut Report,
) -> Result<(), Error> {
    let options = asked.options;
    let (digests, run) = verified.hash(model, &options.run, &options.progress)?;
    report.fill_files(model, &run);
    report.findings.extend(model.problems.iter().map(|problem| {
        let mut finding = structure::finding(problem);
        signature::soften(&mut finding);
        finding
    }));
    let how = (of_signature, options.opening.allow_symlinks);
    let outcome = verified.compare(model, &digests, how, report)?;
    report.findings.extend(outcome.findings);
    Ok(())
}
