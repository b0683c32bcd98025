//! Judges evidence by a policy and returns an outcome for every rule. There is no I/O, and the only clock is in the
//! evidence.
//!
//! Three properties hold for every policy. A requirement that could not be checked fails
//! ([`RuleStatus::NotChecked`]). Every finding gets a [`Disposition`], and one that violates the policy fails whatever
//! its severity, so `--fail-on` hides none. Adding a requirement never turns a failure into a pass.
//!
//! One cause gives one finding: if the evidence has a finding already, the rule refers to it, else the policy makes
//! its own, `policy/…`.

mod attestations;
mod code;
mod content;
mod evidence;
mod files;
mod findings;
mod outcome;
mod pins;
mod registry;
mod seal;
mod signature;
mod watermarks;

pub use evidence::{
    AttestationEvidence, AttestedFinding, CoverageEvidence, Evidence, FileEvidence, Observation,
    PinnedBy, Pins, ScanRecord, SealState, SignatureEvidence, SignatureState, SignerEvidence,
};
pub use outcome::{ExceptionUse, Judgement, RuleOutcome, RuleStatus};

use super::{Pattern, Policy};
use crate::judge::Finding;
use crate::judge::finding::Disposition;
use std::collections::BTreeMap;

/// Judges a model by a policy.
pub fn judge(policy: &Policy, evidence: &Evidence) -> Judgement {
    let mut gate = JudgementBuilder::default();
    code::judge(policy, evidence, &mut gate);
    signature::judge(&policy.signature, evidence, &mut gate);
    seal::judge(policy, evidence, &mut gate);
    attestations::judge(policy, evidence, &mut gate);
    registry::judge(policy.registry, evidence, &mut gate);
    content::judge(policy, evidence, &mut gate);
    files::judge(policy, evidence, &mut gate);
    watermarks::judge(&policy.watermarks, evidence, &mut gate);
    let exceptions = findings::judge(policy, evidence, &mut gate);
    gate.conclude(exceptions, files::nothing(policy, evidence))
}

/// The outcomes and findings so far.
#[derive(Debug, Default)]
struct JudgementBuilder {
    rules: Vec<RuleOutcome>,
    findings: Vec<Finding>,
    /// The signer of the model, if they are not authorised. A seal and attestations of the same signer then give no
    /// further findings.
    refused: Option<SignerEvidence>,
}

impl JudgementBuilder {
    fn pass(&mut self, rule: &'static str, evidence: impl Into<String>) -> &mut RuleOutcome {
        self.rule(rule, RuleStatus::Pass, evidence)
    }

    fn rule(
        &mut self,
        rule: &'static str,
        outcome: RuleStatus,
        evidence: impl Into<String>,
    ) -> &mut RuleOutcome {
        self.rules.push(RuleOutcome::new(rule, outcome, evidence));
        let last = self.rules.len() - 1;
        &mut self.rules[last]
    }

    /// Adds a rule that could not be checked.
    fn not_checked(&mut self, rule: &'static str, why: &str) -> &mut RuleOutcome {
        self.rule(rule, RuleStatus::NotChecked, why)
    }

    /// Adds a rule that fails, with its finding.
    fn fail(&mut self, rule: &'static str, finding: Finding) -> &mut RuleOutcome {
        let message = finding.message.clone();
        self.violation(rule, finding);
        self.rule(rule, RuleStatus::Fail, message)
    }

    /// Adds a finding that violates a rule.
    fn violation(&mut self, rule: &'static str, mut finding: Finding) {
        finding.standing = Some(Disposition::Violates { rule });
        self.findings.push(finding);
    }

    /// Finishes the judgement. Rules that could not be checked for the same reason give one finding.
    fn conclude(mut self, exceptions: Vec<ExceptionUse>, nothing: Option<String>) -> Judgement {
        let mut reasons: BTreeMap<&str, Vec<&RuleOutcome>> = BTreeMap::new();
        for rule in self.rules.iter().filter(|rule| rule.outcome == RuleStatus::NotChecked) {
            reasons.entry(&rule.evidence).or_default().push(rule);
        }
        for (reason, rules) in reasons {
            let titles: Vec<String> = rules.iter().map(|rule| rule.title()).collect();
            let message = format!("{}: {reason}", listed(titles.iter().map(String::as_str)));
            let mut finding = Finding::new("policy/not-checked", message).with("rules", titles);
            finding.standing = Some(Disposition::Violates { rule: rules[0].rule });
            self.findings.push(finding);
        }
        Judgement { rules: self.rules, exceptions, findings: self.findings, nothing }
    }
}

/// Returns whether a signer matches one of the patterns; without patterns, every signer does.
fn is_one_of(signer: &SignerEvidence, identities: &[Pattern]) -> bool {
    let matches = |pattern: &Pattern| signer.identities.iter().any(|name| pattern.matches(name));
    identities.is_empty() || identities.iter().any(matches)
}

/// Formats a number with its noun.
fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

/// Lists the first names, and the number of further ones.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<&str> = names.into_iter().collect();
    let shown: Vec<String> =
        names.iter().take(SHOWN).map(|name| tensorseal_base::display::display_name(name)).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests;
