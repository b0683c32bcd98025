//! What the statements about a judged model share: the model, the policy, and what was met.

use super::PolicyUsed;
use super::Report;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
pub use tensorseal_core::document::statement::{StatementContext, StatementInput};
use tensorseal_core::judge::Verdict;
use tensorseal_core::policy::gate::RuleStatus;

/// Nothing can be stated of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerdictStatementError {
    /// It was judged by no policy.
    #[error("no policy was judged by: there is no verdict to state")]
    NoPolicy,
    /// It was not judged to the end.
    #[error("the run was not completed: there is no verdict to state")]
    Incomplete,
}

/// The policy of a report whose verdict can be stated.
pub(super) fn policy_of(report: &Report) -> Result<&PolicyUsed, VerdictStatementError> {
    match (&report.policy, report.verdict) {
        // That a policy is not met stands, whatever kept the run from a verdict of its own.
        (Some(policy), Verdict::Incomplete) if !policy.passed => Ok(policy),
        (_, Verdict::Incomplete) => Err(VerdictStatementError::Incomplete),
        (None, _) => Err(VerdictStatementError::NoPolicy),
        (Some(policy), _) => Ok(policy),
    }
}

/// What was met, as names: of a policy that is met, itself and each of its rules, in order of the names.
/// Nothing is stated in favour of a model that did not meet it. A rule that only an exception let through
/// is not named, and neither is one that is a list of exceptions itself.
pub(super) fn met(policy: &PolicyUsed) -> Vec<String> {
    if !policy.passed {
        return Vec::new();
    }
    let mut rules: BTreeMap<String, bool> = BTreeMap::new();
    for rule in policy
        .rules
        .iter()
        .filter(|rule| !rule.rule.contains("allow_") && rule.rule != "coverage.allow")
    {
        let name = rule.rule.replace(['.', '-'], "_").to_uppercase();
        let all = rules.entry(format!("TENSORSEAL_{name}")).or_insert(true);
        *all &= rule.outcome == RuleStatus::Pass;
    }
    rules.insert("TENSORSEAL_GATE_PASSED".to_owned(), true);
    rules.into_iter().filter(|(_, met)| *met).map(|(name, _)| name).collect()
}

/// Who verified.
pub(super) fn verifier(stated: &StatementContext, report: &Report) -> String {
    let tool = &report.tool;
    let own = || format!("pkg:cargo/{}@{}", tool.name, tool.version);
    stated.verifier.clone().unwrap_or_else(own)
}

/// The model.
pub(super) fn resource_uri(stated: &StatementContext) -> String {
    stated.resource_uri.clone().unwrap_or_else(|| of_digest(&stated.sha256))
}

/// The policy, as in-toto describes a resource.
pub(super) fn policy(stated: &StatementContext, policy: &PolicyUsed) -> Value {
    let digest = tensorseal_base::hex::unhex(&policy.sha256).unwrap_or_default();
    let uri = stated.policy_uri.clone().unwrap_or_else(|| of_digest(&digest));
    json!({ "uri": uri, "digest": { "sha256": policy.sha256 } })
}

/// A URI that names something by its SHA-256 (RFC 6920).
pub(super) fn of_digest(digest: &[u8; 32]) -> String {
    format!("ni:///sha-256;{}", URL_SAFE_NO_PAD.encode(digest))
}
