//! Findings and verdicts: the results of every judgement.

use super::rules;
use jiff::civil::Date;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use tensorseal_base::dtype::Dtype;
use tensorseal_base::severity::Severity;

/// One thing that is wrong, with its place and evidence. One cause gives one finding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The stable id of the rule, `area/what-is-wrong`.
    pub rule: &'static str,
    /// How severe the finding is.
    pub severity: Severity,
    /// One sentence for people that says what is wrong.
    pub message: String,
    /// The file concerned, relative to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The tensor concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensor: Option<String>,
    /// The other tensor of a pair: the sealed name of a renamed tensor, the partner of a swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_tensor: Option<String>,
    /// The affected bytes as a half-open range. It counts from the start of the tensor's data if `tensor` is given,
    /// else from the start of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byte_range: Option<[u64; 2]>,
    /// The affected elements of the tensor in row-major order, as a half-open range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element_range: Option<[u64; 2]>,
    /// The affected rows (steps of the first dimension), as a half-open range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_range: Option<[u64; 2]>,
    /// The numbers behind the finding.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<&'static str, Value>,
    /// Ids of public catalogues: MITRE ATLAS, OWASP, NIST.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub references: &'static [&'static str],
    /// Whether the finding replaces others that were therefore not reported, or was made more severe by them. A
    /// review of this finding does not cover the others.
    #[serde(skip)]
    pub stands_for_others: bool,
    /// What the policy decided about the finding; `None` if no policy was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<Disposition>,
}

/// What a policy decides about a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "policy", rename_all = "snake_case")]
pub enum Disposition {
    /// The finding violates this key of the policy.
    Violates {
        /// The key.
        rule: &'static str,
    },
    /// The finding is within the limit that this key sets.
    Within {
        /// The key.
        rule: &'static str,
    },
    /// An exception of the policy allows the finding.
    Allowed {
        /// The reason that the exception states.
        reason: String,
        /// The last day on which the exception is valid.
        expires: Date,
    },
}

impl Disposition {
    /// Returns whether the gate fails because of the finding.
    pub fn violates(&self) -> bool {
        matches!(self, Self::Violates { .. })
    }
}

impl Finding {
    /// Creates a finding of `rule` with the usual severity of that rule.
    pub fn new(rule: &'static str, message: impl Into<String>) -> Self {
        let (severity, references) = rules::severity_and_references(rule);
        Self {
            rule,
            severity,
            message: message.into(),
            file: None,
            tensor: None,
            other_tensor: None,
            byte_range: None,
            element_range: None,
            row_range: None,
            evidence: BTreeMap::new(),
            references,
            stands_for_others: false,
            standing: None,
        }
    }

    /// Returns whether the finding makes the command fail: by the policy if one was applied, else by its severity.
    pub fn fails(&self, fail_on: Severity) -> bool {
        match &self.standing {
            Some(standing) => standing.violates(),
            None => self.severity >= fail_on,
        }
    }

    /// Sets the file concerned.
    pub fn in_file(mut self, path: &str) -> Self {
        self.file = Some(path.to_owned());
        self
    }

    /// Sets the tensor concerned.
    pub fn in_tensor(mut self, name: &str) -> Self {
        self.tensor = Some(name.to_owned());
        self
    }

    /// Sets the place in a tensor of this type and shape: the byte range, and the elements and rows that it touches.
    pub fn at(mut self, dtype: Dtype, shape: &[u64], range: [u64; 2]) -> Self {
        let elements = dtype.elements_in(range);
        self.byte_range = Some(range);
        self.element_range = Some(elements);
        let row: u64 = shape.iter().skip(1).product();
        if shape.len() > 1 && row > 0 {
            self.row_range = Some([elements[0] / row, elements[1].div_ceil(row)]);
        }
        self
    }

    /// Adds a value to the evidence.
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.evidence.insert(key, value.into());
        self
    }
}

/// The outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No finding reaches the severity that fails.
    Pass,
    /// At least one finding reaches the severity that fails.
    Fail,
    /// The check could not be completed.
    Incomplete,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_elements_and_rows() {
        let finding = || Finding::new("integrity/tensor-changed", "");
        let f = finding().at(Dtype::F32, &[10, 3], [12, 25]);
        assert_eq!((f.element_range, f.row_range), (Some([3, 7]), Some([1, 3])));
        let f = finding().at(Dtype::F4, &[4], [1, 2]);
        assert_eq!((f.element_range, f.row_range), (Some([2, 4]), None));
    }
}
