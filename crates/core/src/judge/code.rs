//! Turns what a loader of a model would execute into findings.

use super::{Finding, structure};
use std::collections::BTreeMap;
use tensorseal_code::CodeReport;

/// Returns the findings of a [`CodeReport`]. Findings about code files carry the digest of the file.
pub fn findings(code: &CodeReport) -> Vec<Finding> {
    let digests: BTreeMap<&str, [u8; 32]> =
        code.files.iter().filter_map(|file| Some((file.path.as_str(), file.blake3?))).collect();
    let finding = |problem| {
        let finding: Finding = structure::finding(problem);
        let digest = finding.file.as_deref().and_then(|path| digests.get(path));
        match digest.filter(|_| finding.rule == "content/code") {
            Some(digest) => {
                let digest = blake3::Hash::from_bytes(*digest).to_hex();
                finding.with("blake3", digest.as_str())
            }
            None => finding,
        }
    };
    code.findings.iter().map(finding).collect()
}
