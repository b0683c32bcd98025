//! The policy of a report: what it asked for, and what became of each of its rules.

use crate::policy::PolicyFile;
use crate::policy::gate::{ExceptionUse, Judgement, RuleOutcome};
use jiff::Timestamp;
use serde::Serialize;
use tensorseal_base::hex::hex;

/// The policy that a model was judged by.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyUsed {
    /// Where it is.
    pub source: String,
    /// What it calls itself.
    pub name: Option<String>,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// When the model was judged: ages and ends of exceptions count from here.
    pub time: Timestamp,
    /// Whether every rule is met.
    pub passed: bool,
    /// Every rule, in the order of the policy.
    pub rules: Vec<RuleOutcome>,
    /// Every exception, in the order of the policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<ExceptionUse>,
}

impl PolicyUsed {
    /// What a policy said of a model, without the findings.
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

    /// The rules that are not met.
    pub fn failing(&self) -> impl Iterator<Item = &RuleOutcome> {
        self.rules.iter().filter(|rule| rule.outcome.fails())
    }

    /// Its name, else where it is.
    pub fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.source)
    }
}
