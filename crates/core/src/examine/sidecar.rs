//! The fine sidecar of a seal, as far as it can be used.

use crate::judge::{Finding, Severity};
use crate::pinpoint::fine::{self, Fine, FineError};
use crate::seal::Seal;
use std::path::Path;

/// Opens the sidecar beside the seal at `path`, if there is one that can be used; what is wrong with it is a
/// finding.
pub fn open<'s>(path: &Path, seal: &'s Seal, findings: &mut Vec<Finding>) -> Option<Fine<'s>> {
    match Fine::open(&fine::path_of(path), seal) {
        Ok(fine) => fine,
        Err(error) => {
            findings.push(finding(path, &error));
            None
        }
    }
}

/// What is wrong with the sidecar of the seal at `path`. It says nothing of the model.
pub fn finding(path: &Path, error: &FineError) -> Finding {
    let path = fine::path_of(path);
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let message = format!("the fine sidecar of the seal is not used: it {error}");
    let mut finding =
        Finding::new("integrity/seal-invalid", message.replace(['\n', '\r'], " ")).in_file(&name);
    finding.severity = match error {
        FineError::OtherSeal(_) => Severity::Low,
        _ => Severity::Medium,
    };
    finding
}
