//! The policy part of a report: the policy and the outcome of each of its rules.

use crate::policy::PolicyFile;
use crate::policy::gate::{ExceptionUse, Judgement, RuleOutcome};
use jiff::Timestamp;
use serde::Serialize;
use tensorseal_base::hex::hex;

/// The policy that a model was judged by.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyUsed {
    /// The path of the policy.
    pub source: String,
    /// The name that the policy states.
    pub name: Option<String>,
    /// The SHA-256 of the policy's bytes, in hexadecimal.
    pub sha256: String,
    /// The time of the judgement. Ages and the expiry of exceptions are relative to it.
    pub time: Timestamp,
    /// Whether every rule is met.
    pub passed: bool,
    /// The outcome of every rule, in the order of the policy.
    pub rules: Vec<RuleOutcome>,
    /// The use of every exception, in the order of the policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<ExceptionUse>,
}

impl PolicyUsed {
    /// Summarises the judgement of a policy on a model, without the findings.
    pub fn new(file: &PolicyFile, time: Timestamp, judgement: &Judgement) -> Self {
        Self {
            source: file.path.display().to_string(),
            name: file.policy.name.clone(),
            sha256: hex(&file.sha256),
            time,
            passed: judgement.passes(),
            rules: judgement.rules.clone(),
            exceptions: judgement.exceptions.clone(),
        }
    }

    /// Returns the rules that are not met.
    pub fn failing(&self) -> impl Iterator<Item = &RuleOutcome> {
        self.rules.iter().filter(|rule| rule.outcome.fails())
    }

    /// Returns the name of the policy, or its path if it states no name.
    pub fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.source)
    }
}
