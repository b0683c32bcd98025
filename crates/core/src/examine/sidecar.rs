//! The fine sidecar of a seal, as far as it can be used.

use crate::judge::{Finding, Severity};
use crate::pinpoint::chunk_digests::{self, ChunkDigestError, ChunkDigests};
use crate::seal::Seal;
use std::path::Path;

/// Opens the sidecar beside the seal at `path`, if there is one that can be used; what is wrong with it is a
/// finding.
pub fn open<'s>(
    path: &Path,
    seal: &'s Seal,
    findings: &mut Vec<Finding>,
) -> Option<ChunkDigests<'s>> {
    match ChunkDigests::open(&chunk_digests::path_of(path), seal) {
        Ok(fine) => fine,
        Err(error) => {
            findings.push(finding(path, &error));
            None
        }
    }
}

/// What is wrong with the sidecar of the seal at `path`. It says nothing of the model.
pub fn finding(path: &Path, error: &ChunkDigestError) -> Finding {
    let path = chunk_digests::path_of(path);
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let message = format!("the fine sidecar of the seal is not used: it {error}");
    let mut finding =
        Finding::new("integrity/seal-invalid", message.replace(['\n', '\r'], " ")).in_file(&name);
    finding.severity = match error {
        ChunkDigestError::OtherSeal(_) => Severity::Low,
        _ => Severity::Medium,
    };
    finding
}
