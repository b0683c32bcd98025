//! The outcomes of the rules and exceptions of a policy.

use crate::judge::Finding;
use jiff::civil::Date;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The status of a rule of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleStatus {
    /// The rule was checked and is met.
    Pass,
    /// The rule is met only because exceptions allow findings.
    Allowed,
    /// The rule could not be checked, which is a failure.
    NotChecked,
    /// The rule was checked and is not met.
    Fail,
}

impl RuleStatus {
    /// Returns whether the rule fails the gate.
    pub fn fails(self) -> bool {
        matches!(self, Self::NotChecked | Self::Fail)
    }

    /// Returns the name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Allowed => "allowed",
            Self::NotChecked => "not_checked",
            Self::Fail => "fail",
        }
    }
}

/// The outcome of a rule of the policy, with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleOutcome {
    /// The key of the policy, such as `signature.required`.
    pub rule: &'static str,
    /// The object of the rule if it applies to several: a kind of attestation, a mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The status of the rule.
    pub outcome: RuleStatus,
    /// The reason for the status, as a sentence for people.
    pub evidence: String,
    /// The numbers behind the status.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<&'static str, Value>,
}

impl RuleOutcome {
    pub(super) fn new(
        rule: &'static str,
        outcome: RuleStatus,
        evidence: impl Into<String>,
    ) -> Self {
        let evidence = evidence.into();
        Self { rule, of: None, outcome, evidence, numbers: BTreeMap::new() }
    }

    /// Returns the rule and its object as one text.
    pub fn title(&self) -> String {
        match &self.of {
            Some(object) => format!("{} ({object})", self.rule),
            None => self.rule.to_owned(),
        }
    }
}

/// How an exception (`[[allow]]`) of the policy was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExceptionUse {
    /// The rule that the exception allows.
    pub rule: &'static str,
    /// The pattern of the files that it applies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The pattern of the tensors that it applies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensor: Option<String>,
    /// The reason that the policy gives.
    pub reason: String,
    /// The last day on which the exception is valid.
    pub expires: Date,
    /// Whether the exception has expired.
    pub expired: bool,
    /// The number of findings that it allowed.
    pub allowed: u64,
}

/// The result of judging a model by a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// All rules, in the order of the policy.
    pub rules: Vec<RuleOutcome>,
    /// All exceptions, in the order of the policy.
    pub exceptions: Vec<ExceptionUse>,
    /// All findings: those of the evidence, each with its disposition, and those of the policy.
    pub findings: Vec<Finding>,
    /// The reason why there was nothing to judge, if that is so.
    pub nothing: Option<String>,
}

impl Judgement {
    /// Returns whether the gate passes. Only the policy decides this, and a model with nothing to judge never passes.
    pub fn passes(&self) -> bool {
        !self.fails() && self.nothing.is_none()
    }

    /// Returns whether the policy is violated.
    pub fn fails(&self) -> bool {
        let is_allowed =
            |finding: &Finding| finding.standing.as_ref().is_some_and(|s| !s.violates());
        self.rules.iter().any(|rule| rule.outcome.fails()) || !self.findings.iter().all(is_allowed)
    }
}
