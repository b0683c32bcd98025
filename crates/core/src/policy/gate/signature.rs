//! Judges `[signature]`: whether an authorised signer signed the model, and whether the signature covers it.

use super::{
    Evidence, JudgementBuilder, RuleStatus, SignatureEvidence, SignatureState, count, is_one_of,
    listed,
};
use crate::judge::{Finding, Severity};
use crate::policy::SignaturePolicy;

/// The maximum number of paths of one kind with a finding of their own.
const MAX_FINDINGS: usize = 50;

pub(super) fn judge(policy: &SignaturePolicy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    const RULE: &str = "signature.required";
    if !policy.is_active() {
        return;
    }
    match evidence.signature.as_result() {
        Err(why) => _ = gate.not_checked(RULE, why),
        // No signature is required: the rule neither passes nor fails.
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

/// Reports a signature that does not verify, unless the findings of the evidence do.
fn failed(evidence: &Evidence, gate: &mut JudgementBuilder, rule: &'static str) {
    let message = "the signature does not verify";
    let of_signature = |finding: &&Finding| {
        finding.rule.starts_with("signature/") && finding.severity > Severity::Info
    };
    match evidence.findings.iter().find(of_signature) {
        Some(reason) => {
            gate.rule(rule, RuleStatus::Fail, format!("{message}: {}", reason.message));
        }
        None => _ = gate.fail(rule, Finding::new("policy/not-signed", message)),
    }
}

fn verified(policy: &SignaturePolicy, signed: &SignatureEvidence, gate: &mut JudgementBuilder) {
    if !policy.identities.is_empty() {
        const RULE: &str = "signature.identities";
        if is_one_of(&signed.by, &policy.identities) {
            gate.pass(RULE, format!("{} is authorised to sign", signed.by.name));
        } else {
            let names = listed(signed.by.identities.iter().map(String::as_str));
            let message = format!("the signer is not authorised: {names}");
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
    uncovered(gate, "signature.allow_ignored_paths", ignored, "ignored by the signed manifest");
    let unsigned = |allow: bool, paths: &'_ [String]| match allow {
        true => Vec::new(),
        false => paths.to_vec(),
    };
    let files = unsigned(policy.allow_unsigned_files, &signed.unsigned);
    uncovered(gate, "signature.allow_unsigned_files", files.iter().collect(), "not signed");
    let links = unsigned(policy.allow_symlinks, &signed.links);
    uncovered(gate, "signature.allow_symlinks", links.iter().collect(), "link out of the model");
}

/// Reports paths that the signature does not cover and the policy does not allow.
fn uncovered(gate: &mut JudgementBuilder, rule: &'static str, paths: Vec<&String>, why: &str) {
    if paths.is_empty() {
        gate.pass(rule, "none");
        return;
    }
    for path in paths.iter().take(MAX_FINDINGS) {
        let finding = Finding::new("policy/outside-signature", why).in_file(path);
        gate.violation(rule, finding);
    }
    let names = listed(paths.iter().map(|path| path.as_str()));
    let outcome = gate.rule(rule, RuleStatus::Fail, format!("{why}: {names}"));
    outcome.numbers.insert("paths", paths.len().into());
}
