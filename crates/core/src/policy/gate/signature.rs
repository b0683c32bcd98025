//! `[signature]`: whether the right one signed the model, and all of it.

use super::{
    Evidence, JudgementBuilder, RuleStatus, SignatureEvidence, SignatureState, count, is_one_of,
    listed,
};
use crate::judge::{Finding, Severity};
use crate::policy::SignaturePolicy;

/// Paths of one kind that get a finding each; the rest is counted.
const NAMED: usize = 50;

pub(super) fn judge(policy: &SignaturePolicy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    const RULE: &str = "signature.required";
    if !policy.is_active() {
        return;
    }
    match evidence.signature.as_result() {
        Err(why) => _ = gate.not_checked(RULE, why),
        // None is required: nothing passed and nothing failed.
        Ok(SignatureState::Absent) if !policy.required => {}
        Ok(SignatureState::Absent) => {
            let message = "there is no signature, and the policy requires one";
            gate.fail(RULE, Finding::new("policy/not-signed", message));
        }
        Ok(SignatureState::Failed) => failed(evidence, gate, RULE),
        Ok(SignatureState::Verified(signed)) => {
            let message = format!("signed by {}, {}", signed.by.name, count(signed.files, "file"));
            gate.pass(RULE, message).numbers.insert("files", signed.files.into());
            verified(policy, signed, gate);
        }
    }
}

/// Why it does not verify is among the findings of the evidence; should it not be, it is said here.
fn failed(evidence: &Evidence, gate: &mut JudgementBuilder, rule: &'static str) {
    let message = "there is a signature, and it does not verify";
    let of_signature = |finding: &Finding| {
        finding.rule.starts_with("signature/") && finding.severity > Severity::Info
    };
    if evidence.findings.iter().any(of_signature) {
        gate.rule(rule, RuleStatus::Fail, message);
    } else {
        gate.fail(rule, Finding::new("policy/not-signed", message));
    }
}

fn verified(policy: &SignaturePolicy, signed: &SignatureEvidence, gate: &mut JudgementBuilder) {
    if !policy.identities.is_empty() {
        const RULE: &str = "signature.identities";
        if is_one_of(&signed.by, &policy.identities) {
            gate.pass(RULE, format!("{} is one of those that may sign", signed.by.name));
        } else {
            let known = listed(signed.by.identities.iter().map(String::as_str));
            let message = format!("the signer, {known}, is none of those that may sign");
            gate.fail(RULE, Finding::new("policy/signer-not-allowed", message));
            gate.refused = Some(signed.by.clone());
        }
    }
    let hash = signed.hash.name();
    if policy.hash.contains(&signed.hash) {
        gate.pass("signature.hash", format!("the signed manifest uses {hash}"));
    } else {
        let allowed = listed(policy.hash.iter().map(|hash| hash.name()));
        let message = format!("the signed manifest uses {hash}; allowed: {allowed}");
        gate.fail("signature.hash", Finding::new("policy/hash-not-allowed", message));
    }
    let allowed = |path: &&String| !policy.allow_ignored_paths.iter().any(|p| p.matches(path));
    let ignored = signed.ignored.iter().filter(allowed).collect();
    reach(gate, "signature.allow_ignored_paths", ignored, "the signed manifest leaves it out");
    let unsigned = |allow: bool, paths: &'_ [String]| match allow {
        true => Vec::new(),
        false => paths.to_vec(),
    };
    let files = unsigned(policy.allow_unsigned_files, &signed.unsigned);
    reach(gate, "signature.allow_unsigned_files", files.iter().collect(), "nobody signed it");
    let links = unsigned(policy.allow_symlinks, &signed.links);
    reach(gate, "signature.allow_symlinks", links.iter().collect(), "it leads out of the model");
}

/// What a signature does not reach, and nobody allowed.
fn reach(gate: &mut JudgementBuilder, rule: &'static str, paths: Vec<&String>, why: &str) {
    if paths.is_empty() {
        gate.pass(rule, "none beyond what the policy allows");
        return;
    }
    for path in paths.iter().take(NAMED) {
        let finding = Finding::new("policy/outside-signature", why).in_file(path);
        gate.violation(rule, finding);
    }
    let names = listed(paths.iter().map(|path| path.as_str()));
    let outcome = gate.rule(rule, RuleStatus::Fail, format!("{why}: {names}"));
    outcome.numbers.insert("paths", paths.len().into());
}
