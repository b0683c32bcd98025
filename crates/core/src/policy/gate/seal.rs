//! Judges `[seal]`: whether the model matches its seal.

use super::{Evidence, JudgementBuilder, RuleStatus, SealState, is_one_of};
use crate::judge::Finding;
use crate::policy::Policy;

pub(super) fn judge(policy: &Policy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    if policy.seal.required {
        required(policy, evidence, gate);
    }
    if !policy.seal.expect_digest.is_empty() {
        digest(policy, evidence, gate);
    }
    if !policy.seal.expect_root.is_empty() {
        root(&policy.seal.expect_root, evidence, gate);
    }
}

fn required(policy: &Policy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    const RULE: &str = "seal.required";
    const SIGNED: &str = "seal.signed";
    let (digest, signed_by) = match evidence.seal.as_result() {
        Err(why) => {
            gate.not_checked(RULE, why);
            if policy.seal.signed {
                gate.not_checked(SIGNED, why);
            }
            return;
        }
        Ok(SealState::Absent) => {
            let message = "there is no seal, and the policy requires one";
            gate.fail(RULE, Finding::new("policy/seal-missing", message));
            return;
        }
        Ok(SealState::Invalid) => return invalid(evidence, gate, RULE),
        Ok(SealState::Compared { digest, signed_by }) => (digest, signed_by),
    };
    gate.pass(RULE, format!("compared with the seal {digest}"));
    if !policy.seal.signed {
        return;
    }
    match signed_by {
        Some(signer) if is_one_of(signer, &policy.signature.identities) => {
            gate.pass(SIGNED, format!("the seal is signed by {}", signer.name));
        }
        Some(signer) => {
            let message = format!("the seal is signed by {}, who is not authorised", signer.name);
            if gate.refused.as_ref() == Some(signer) {
                gate.rule(SIGNED, RuleStatus::Fail, message);
            } else {
                gate.fail(SIGNED, Finding::new("policy/seal-not-signed", message));
            }
        }
        None => {
            let message = "the seal is not signed by a signer in the policy; anyone who swaps the weights can seal again";
            gate.fail(SIGNED, Finding::new("policy/seal-not-signed", message));
        }
    }
}

/// Reports a seal that cannot be used, unless the findings of the evidence do.
fn invalid(evidence: &Evidence, gate: &mut JudgementBuilder, rule: &'static str) {
    let message = "the seal cannot be used";
    if evidence.findings.iter().any(|finding| finding.rule == "integrity/seal-invalid") {
        gate.rule(rule, RuleStatus::Fail, message);
    } else {
        gate.fail(rule, Finding::new("policy/seal-missing", message));
    }
}

/// Judges whether the seal is one that the policy names. Such a seal need not be signed.
fn digest(policy: &Policy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    const RULE: &str = "seal.expect_digest";
    let missing = "there is no seal, and the policy requires a certain one";
    match evidence.seal.as_result() {
        Err(why) => _ = gate.not_checked(RULE, why),
        // One cause gives one finding.
        Ok(SealState::Absent) if policy.seal.required => {
            _ = gate.rule(RULE, RuleStatus::Fail, missing)
        }
        Ok(SealState::Absent) => {
            gate.fail(RULE, Finding::new("policy/seal-missing", missing));
        }
        Ok(SealState::Invalid) => invalid(evidence, gate, RULE),
        Ok(SealState::Compared { digest, .. }) if policy.seal.expect_digest.contains(digest) => {
            gate.pass(RULE, format!("the seal is {digest}"));
        }
        Ok(SealState::Compared { digest, .. }) => {
            let message = format!("the seal is {digest}, which the policy does not name");
            gate.fail(RULE, Finding::new("policy/other-seal", message));
        }
    }
}

fn root(expected: &[String], evidence: &Evidence, gate: &mut JudgementBuilder) {
    const RULE: &str = "seal.expect_root";
    match evidence.root.as_result() {
        Err(why) => _ = gate.not_checked(RULE, why),
        Ok(root) if expected.contains(root) => {
            gate.pass(RULE, format!("the model root is {root}"));
        }
        Ok(root) => {
            let message = format!("the model root is {root}, which the policy does not name");
            gate.fail(RULE, Finding::new("policy/other-root", message));
        }
    }
}
