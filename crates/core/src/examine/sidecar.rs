//! Opens the chunk digests of a seal for a check, and reports why they cannot be used.

use crate::judge::{Finding, Severity};
use crate::pinpoint::chunk_digests::{self, ChunkDigestError, ChunkDigests};
use crate::seal::Seal;
use std::path::Path;

/// Opens the chunk digests that belong to the seal at `path`, if there are any. If they cannot be used, a finding is
/// added.
pub fn open<'s>(
    path: &Path,
    seal: &'s Seal,
    findings: &mut Vec<Finding>,
) -> Option<ChunkDigests<'s>> {
    match ChunkDigests::open(&chunk_digests::path_of(path), seal) {
        Ok(chunk_digests) => chunk_digests,
        Err(error) => {
            findings.push(finding(path, &error));
            None
        }
    }
}

/// Returns the finding for chunk digests of the seal at `path` that cannot be used. It says nothing about the model.
pub fn finding(path: &Path, error: &ChunkDigestError) -> Finding {
    let path = chunk_digests::path_of(path);
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let message = format!("the chunk digests of the seal are not used: {error}");
    let mut finding =
        Finding::new("integrity/seal-invalid", message.replace(['\n', '\r'], " ")).in_file(&name);
    finding.severity = match error {
        ChunkDigestError::OtherSeal(_) => Severity::Low,
        _ => Severity::Medium,
    };
    finding
}
