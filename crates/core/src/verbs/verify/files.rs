//! Verifies a model against a signature only: its files are hashed, and tensors are not measured.

use super::VerifyRequest;
use crate::document::Report;
use crate::judge::{signature, structure};
use crate::verbs::signature::VerifiedSignature;
use crate::verbs::{Error, SignatureOptions};
use tensorseal_format::Checkpoint;

/// Hashes the signed files, and compares them with the signature.
pub(super) fn verify(
    request: &VerifyRequest<'_>,
    (verified, signature_options): (&VerifiedSignature, &SignatureOptions),
    model: &Checkpoint,
    report: &mut Report,
) -> Result<(), Error> {
    let options = request.options;
    let (digests, run) = verified.hash(model, &options.run, &options.progress)?;
    report.fill_files(model, &run);
    report.findings.extend(model.problems.iter().map(|problem| {
        let mut finding = structure::finding(problem);
        signature::soften(&mut finding);
        finding
    }));
    let compare_options = (signature_options, options.opening.allow_symlinks);
    let outcome = verified.compare(model, &digests, compare_options, report)?;
    report.findings.extend(outcome.findings);
    Ok(())
}
