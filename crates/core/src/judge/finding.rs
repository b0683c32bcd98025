//! What a judgement says.

use super::rules;
use jiff::civil::Date;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use tensorseal_base::dtype::Dtype;
use tensorseal_base::severity::Severity;

/// One thing that is wrong, with its place and its numbers. One cause is one finding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Stable id, `area/what-is-wrong`.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence for people.
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
    /// Half-open; from the start of the tensor's data when `tensor` is given, else of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byte_range: Option<[u64; 2]>,
    /// Half-open, in elements of the tensor, row-major.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element_range: Option<[u64; 2]>,
    /// Half-open, in rows: steps of the first dimension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_range: Option<[u64; 2]>,
    /// The numbers behind it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<&'static str, Value>,
    /// Public ids: MITRE ATLAS, OWASP, NIST.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub references: &'static [&'static str],
    /// Whether it stands for others that were therefore not said, or was made worse by them: whoever has looked
    /// at it has not looked at those.
    #[serde(skip)]
    pub stands_for_others: bool,
    /// What a policy says of it; `None`: no policy was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<Disposition>,
}

/// What a policy says of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "policy", rename_all = "snake_case")]
pub enum Disposition {
    /// It violates this key of the policy.
    Violates {
        /// The key.
        rule: &'static str,
    },
    /// It is no worse than this key lets through.
    Within {
        /// The key.
        rule: &'static str,
    },
    /// Somebody has looked at it.
    Allowed {
        /// Why it is allowed.
        reason: String,
        /// The last day on which it is.
        expires: Date,
    },
}

impl Disposition {
    /// Whether the gate stays closed for it.
    pub fn violates(&self) -> bool {
        matches!(self, Self::Violates { .. })
    }
}

impl Finding {
    /// A finding of `rule`, at its usual severity.
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

    /// Whether it makes the command fail: by the policy that was asked, else by its severity.
    pub fn fails(&self, fail_on: Severity) -> bool {
        match &self.standing {
            Some(standing) => standing.violates(),
            None => self.severity >= fail_on,
        }
    }

    /// Names the file.
    pub fn in_file(mut self, path: &str) -> Self {
        self.file = Some(path.to_owned());
        self
    }

    /// Names the tensor.
    pub fn in_tensor(mut self, name: &str) -> Self {
        self.tensor = Some(name.to_owned());
        self
    }

    /// Gives its place in a tensor of this type and shape: the bytes, and the elements and rows they
    /// touch.
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

    /// Adds a number to the evidence.
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.evidence.insert(key, value.into());
        self
    }
}

/// The outcome of a whole command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing at or above the severity that fails.
    Pass,
    /// Something at or above it.
    Fail,
    /// It could not be finished.
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
