//! Judges `code`: which code of the model a loader may execute.

use super::{Evidence, JudgementBuilder, RuleStatus, count, listed, pins};
use crate::judge::Finding;
use crate::policy::{CodeAllowed, Policy};
use std::collections::{BTreeMap, BTreeSet};
use tensorseal_code::{CodeFile, RemoteCode};

/// The key of the policy.
pub(super) const RULE: &str = "code";

/// The maximum number of files with a finding of their own.
const MAX_FINDINGS: usize = 50;

pub(super) fn judge(policy: &Policy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    let observed = evidence.code.as_result().and_then(|code| {
        let pinned = match policy.code {
            CodeAllowed::Pinned => pins::pinned(policy, evidence)?,
            CodeAllowed::None | CodeAllowed::Any => BTreeMap::new(),
        };
        Ok((code, pinned))
    });
    if policy.code == CodeAllowed::Any {
        return;
    }
    let (code, pinned) = match observed {
        Ok(observed) => observed,
        Err(why) => {
            gate.not_checked(RULE, why);
            return;
        }
    };
    let is_violation = |file: &&CodeFile| !pinned.contains_key(file.path.as_str());
    let violations: Vec<&CodeFile> = code.files.iter().filter(is_violation).collect();
    let (id, why) = match policy.code {
        CodeAllowed::None => ("policy/code-not-allowed", "the policy allows no code"),
        _ => ("policy/code-not-pinned", "no trusted party vouches for this file"),
    };
    for file in violations.iter().take(MAX_FINDINGS) {
        gate.violation(RULE, Finding::new(id, format!("{}: {why}", file.what)).in_file(&file.path));
    }
    for remote in
        code.remote.iter().filter(|remote| !is_reported(evidence, remote)).take(MAX_FINDINGS)
    {
        let message =
            format!("{}: it is not part of the model, and can change at any time", remote.what);
        gate.violation(RULE, Finding::new(id, message).in_file(&remote.path));
    }
    let total = (code.files.len() + code.remote.len()) as u64;
    let outcome = if violations.is_empty() && code.remote.is_empty() {
        gate.pass(RULE, pass_evidence(&code.files, &pinned))
    } else {
        let paths: BTreeSet<&str> = violations.iter().map(|file| file.path.as_str()).collect();
        let remote = code.remote.iter().map(|remote| remote.what.as_str());
        let mut reasons = Vec::new();
        if !paths.is_empty() {
            reasons.push(format!("{why}: {}", listed(paths)));
        }
        if !code.remote.is_empty() {
            reasons.push(format!("code from outside the model: {}", listed(remote)));
        }
        gate.rule(RULE, RuleStatus::Fail, reasons.join("; "))
    };
    outcome.numbers.insert("files", total.into());
    outcome.numbers.insert("remote", code.remote.len().into());
}

/// Returns the evidence of a pass.
fn pass_evidence(files: &[CodeFile], pinned: &BTreeMap<&str, String>) -> String {
    if files.is_empty() {
        return "there is no code".to_owned();
    }
    let by: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| pinned.get(file.path.as_str()))
        .map(String::as_str)
        .collect();
    format!("{} of code, {}", count(files.len() as u64, "file"), listed(by))
}

/// Returns whether a finding of the evidence reports remote code already. That finding then violates the policy.
fn is_reported(evidence: &Evidence, remote: &RemoteCode) -> bool {
    evidence.findings.iter().any(|finding| reports(finding, remote))
}

fn reports(finding: &Finding, remote: &RemoteCode) -> bool {
    finding.rule == "content/remote-code" && finding.file.as_deref() == Some(remote.path.as_str())
}

/// Returns whether a finding reports remote code, which no measurement covers, while the policy restricts code.
pub(super) fn is_beyond_limits(policy: &Policy, evidence: &Evidence, finding: &Finding) -> bool {
    let remote = evidence.code.as_result().map_or(&[][..], |code| &code.remote);
    policy.code != CodeAllowed::Any && remote.iter().any(|remote| reports(finding, remote))
}
