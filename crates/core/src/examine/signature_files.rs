//! Signatures that were written after the seal.
//!
//! `sign` adds a bundle to a model that may have been sealed before. To the seal that is an added file; it is not
//! tampering, as long as the file holds signature bundles and nothing else.

use crate::judge::{Finding, Severity};
use tensorseal_format::{Checkpoint, read_whole};
use tensorseal_signing::{BUNDLE_FILE_NAME as BUNDLE, are_bundles, attestation};

/// Lowers a finding about an added file to info if the file is the signature of the model, or its attestations, under
/// the name that `sign` gives it. Its bytes count as checked either way; whether the signature is valid is not said.
pub(super) fn explain_added(model: &Checkpoint, findings: &mut [Finding]) {
    let attestations = format!("{BUNDLE}{}", attestation::SUFFIX);
    for finding in findings.iter_mut().filter(|finding| finding.rule == "integrity/file-added") {
        let Some(path) = finding.file.as_deref() else { continue };
        let is_signature = (path == BUNDLE || path == attestations)
            && read_whole(model, path, attestation::MAX_FILE)
                .is_some_and(|text| are_bundles(&text));
        if is_signature {
            finding.severity = Severity::Info;
            finding.message = format!(
                "signature added after the seal, not verified here; verify it with --signature {BUNDLE}"
            );
        }
    }
}
