//! Judges `[attestations]`: whether the required statements were signed, and when.

use super::findings::limit_of;
use super::{AttestationEvidence, Evidence, JudgementBuilder, RuleStatus, is_one_of, listed};
use crate::judge::Finding;
use crate::policy::{Age, Policy};
use jiff::{SignedDuration, Timestamp};
use tensorseal_signing::attestation::AttestationKind;

const REQUIRED: &str = "attestations.required";
const MAX_AGE: &str = "attestations.max_age";

/// The tolerance for signing times in the future.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

pub(super) fn judge(policy: &Policy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    for kind in &policy.attestations.required {
        let name = kind.name();
        match evidence.attestations.as_result() {
            Err(why) => {
                gate.not_checked(REQUIRED, why).of = Some(name.to_owned());
                if policy.attestations.max_age.is_some() {
                    gate.not_checked(MAX_AGE, why).of = Some(name.to_owned());
                }
            }
            Ok(all) => {
                let of_kind: Vec<&AttestationEvidence> =
                    all.iter().filter(|one| one.kind == *kind).collect();
                one_kind(policy, *kind, &of_kind, evidence.now, gate);
            }
        }
    }
}

/// Judges the attestations of one kind. The youngest one by an authorised signer counts, and no other verified signer
/// may have attested worse findings since.
fn one_kind(
    policy: &Policy,
    kind: AttestationKind,
    all: &[&AttestationEvidence],
    now: Timestamp,
    gate: &mut JudgementBuilder,
) {
    let name = kind.name();
    let may_sign = |one: &&&AttestationEvidence| is_one_of(&one.by, &policy.signature.identities);
    let Some(youngest) = all.iter().filter(may_sign).max_by_key(|one| one.time) else {
        let message = format!("no attestation by an authorised signer: {name}");
        let refused = |one: &&AttestationEvidence| gate.refused.as_ref() == Some(&one.by);
        let outcome = match !all.is_empty() && all.iter().all(refused) {
            true => gate.rule(REQUIRED, RuleStatus::Fail, message),
            false => gate.fail(REQUIRED, Finding::new("policy/attestation-missing", message)),
        };
        outcome.of = Some(name.to_owned());
        return;
    };
    let since = all.iter().filter(|one| one.time >= youngest.time);
    let worse = |one: &&&AttestationEvidence| !violations(policy, one).is_empty();
    let outcome = match since.filter(worse).max_by_key(|one| one.time) {
        None => gate.pass(REQUIRED, format!("signed by {}", youngest.by.name)),
        Some(worse) => {
            let rules = listed(violations(policy, worse));
            let message = format!("the {name} attested by {} found {rules}", worse.by.name);
            gate.fail(REQUIRED, Finding::new("policy/attestation-unfavourable", message))
        }
    };
    outcome.of = Some(name.to_owned());
    if let Some(limit) = policy.attestations.max_age {
        age(name, youngest.time, limit, now, gate).of = Some(name.to_owned());
    }
}

/// Returns the rules of the attested findings that the policy does not allow.
fn violations<'a>(policy: &Policy, attestation: &'a AttestationEvidence) -> Vec<&'a str> {
    let findings = attestation.findings.iter();
    let violations = findings.filter(|f| !limit_of(policy, &f.rule).lets_through(f.severity));
    violations.map(|finding| finding.rule.as_str()).collect()
}

fn age<'a>(
    name: &str,
    time: Option<Timestamp>,
    limit: Age,
    now: Timestamp,
    gate: &'a mut JudgementBuilder,
) -> &'a mut super::RuleOutcome {
    let Some(time) = time else {
        let message = format!("{name} has no signing time");
        return gate.fail(MAX_AGE, Finding::new("policy/attestation-age", message));
    };
    let age = now.duration_since(time);
    let message = if age < -MAX_CLOCK_SKEW {
        format!("{name} was signed at {time}, which is in the future")
    } else if age > limit.duration() {
        format!("{name} was signed at {time}, more than {limit} ago")
    } else {
        let outcome =
            gate.rule(MAX_AGE, RuleStatus::Pass, format!("signed at {time}, within {limit}"));
        outcome.numbers.insert("seconds", age.as_secs().into());
        return outcome;
    };
    let finding = Finding::new("policy/attestation-age", message).with("seconds", age.as_secs());
    let outcome = gate.fail(MAX_AGE, finding);
    outcome.numbers.insert("seconds", age.as_secs().into());
    outcome
}
