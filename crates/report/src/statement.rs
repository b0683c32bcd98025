//! The parts that attestations of a gate verdict share: the model, the policy, and the rules that were met.

use super::PolicyUsed;
use super::Report;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
pub use tensorseal_core::document::statement::{StatementContext, StatementInput};
use tensorseal_core::judge::Verdict;
use tensorseal_core::policy::gate::RuleStatus;

/// Why a report cannot be turned into a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerdictStatementError {
    /// The report was not judged by a policy.
    #[error("the report has no policy verdict to attest; use `gate` with a policy")]
    NoPolicy,
    /// The run was not completed.
    #[error("the run was not completed, so there is no verdict to attest")]
    Incomplete,
}

/// Returns the policy of a report that has a verdict.
///
/// # Errors
/// Returns an error if the report has no policy, or if the run was not completed and the policy is not known to have failed.
pub(super) fn policy_of(report: &Report) -> Result<&PolicyUsed, VerdictStatementError> {
    match (&report.policy, report.verdict) {
        // A policy that failed has failed, even if the run was not completed.
        (Some(policy), Verdict::Incomplete) if !policy.passed => Ok(policy),
        (_, Verdict::Incomplete) => Err(VerdictStatementError::Incomplete),
        (None, _) => Err(VerdictStatementError::NoPolicy),
        (Some(policy), _) => Ok(policy),
    }
}

/// Returns the names of the rules that the model met, sorted, and one name for the policy as a whole. The list is empty
/// if the policy failed. A rule that passed only because of an exception is not named, and neither is a rule that is
/// itself a list of exceptions.
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

/// Returns the id of the verifier.
pub(super) fn verifier(stated: &StatementContext, report: &Report) -> String {
    let tool = &report.tool;
    let own = || format!("pkg:cargo/{}@{}", tool.name, tool.version);
    stated.verifier.clone().unwrap_or_else(own)
}

/// Returns the URI of the model.
pub(super) fn resource_uri(stated: &StatementContext) -> String {
    stated.resource_uri.clone().unwrap_or_else(|| of_digest(&stated.sha256))
}

/// Returns the policy as an in-toto resource descriptor.
pub(super) fn policy(stated: &StatementContext, policy: &PolicyUsed) -> Value {
    let digest = tensorseal_base::hex::unhex(&policy.sha256).unwrap_or_default();
    let uri = stated.policy_uri.clone().unwrap_or_else(|| of_digest(&digest));
    json!({ "uri": uri, "digest": { "sha256": policy.sha256 } })
}

/// Returns the URI that names a resource by its SHA-256 (RFC 6920).
pub(super) fn of_digest(digest: &[u8; 32]) -> String {
    format!("ni:///sha-256;{}", URL_SAFE_NO_PAD.encode(digest))
}
