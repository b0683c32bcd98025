//! What is said of each rule of a policy.

use crate::judge::Finding;
use jiff::civil::Date;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What became of one rule of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleStatus {
    /// It was checked and is so.
    Pass,
    /// It was checked and is not so, but somebody allowed it, by name and for a time.
    Allowed,
    /// It could not be checked. That is a failure.
    NotChecked,
    /// It was checked and is not so.
    Fail,
}

impl RuleStatus {
    /// Whether the gate stays closed.
    pub fn fails(self) -> bool {
        matches!(self, Self::NotChecked | Self::Fail)
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Allowed => "allowed",
            Self::NotChecked => "not_checked",
            Self::Fail => "fail",
        }
    }
}

/// One rule of the policy, what became of it, and by what evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleOutcome {
    /// The key of the policy: `signature.required`.
    pub rule: &'static str,
    /// What of it, where the rule is about several things: a kind of attestation, a mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// What became of it.
    pub outcome: RuleStatus,
    /// One sentence for people.
    pub evidence: String,
    /// The numbers behind it.
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

    /// Rule and what of it, in one text.
    pub fn title(&self) -> String {
        match &self.of {
            Some(what) => format!("{} ({what})", self.rule),
            None => self.rule.to_owned(),
        }
    }
}

/// What became of one `[[allow]]` of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExceptionUse {
    /// The rule that it allows.
    pub rule: &'static str,
    /// In which files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// In which tensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensor: Option<String>,
    /// Why.
    pub reason: String,
    /// The last day on which it counts.
    pub expires: Date,
    /// Whether that day is over.
    pub expired: bool,
    /// Findings that it allowed.
    pub allowed: u64,
}

/// What a policy says of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Every rule, in the order of the policy.
    pub rules: Vec<RuleOutcome>,
    /// Every exception, in the order of the policy.
    pub exceptions: Vec<ExceptionUse>,
    /// All findings: those of the evidence, each with its standing, and those of the policy.
    pub findings: Vec<Finding>,
    /// Why there was nothing to judge, if there was nothing.
    pub nothing: Option<String>,
}

impl Judgement {
    /// Whether the gate opens. Nothing but the policy has a say in it, and nothing to judge is never a pass.
    pub fn passes(&self) -> bool {
        !self.fails() && self.nothing.is_none()
    }

    /// Whether the policy is violated.
    pub fn fails(&self) -> bool {
        let stands = |finding: &Finding| finding.standing.as_ref().is_some_and(|s| !s.violates());
        self.rules.iter().any(|rule| rule.outcome.fails()) || !self.findings.iter().all(stands)
    }
}
