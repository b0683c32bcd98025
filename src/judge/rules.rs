//! The rules: stable ids, usual severities, and public ids.
//!
//! Public ids follow MITRE ATLAS, OWASP Top 10 for LLM applications and NIST SP 800-53 / 800-218A.

use crate::severity::Severity::{self, Critical, High, Info, Low, Medium};

const CHANGED: &[&str] = &["AML.T0018", "AML.T0010.003", "LLM04", "SI-7"];
const MALFORMED: &[&str] = &["AML.T0018.002", "AML.T0011.000", "LLM04", "SI-10"];

/// No public catalogue has an id for it.
const NONE: &[&str] = &[];

/// Weights that may behave otherwise once they are quantised.
const CONDITIONED: &[&str] = &["AML.T0018", "LLM04"];

/// Id, usual severity, public ids. In order of the ids.
const RULES: &[(&str, Severity, &[&str])] = &[
    ("integrity/dtype-changed", Critical, CHANGED),
    ("integrity/file-added", High, CHANGED),
    ("integrity/file-changed", High, CHANGED),
    ("integrity/file-missing", High, CHANGED),
    ("integrity/header-changed", Medium, CHANGED),
    ("integrity/other-model", Critical, CHANGED),
    ("integrity/seal-invalid", Critical, CHANGED),
    ("integrity/shape-changed", Critical, CHANGED),
    ("integrity/tensor-added", High, CHANGED),
    ("integrity/tensor-changed", Critical, CHANGED),
    ("integrity/tensor-missing", Critical, CHANGED),
    ("integrity/tensor-moved", Medium, CHANGED),
    ("integrity/tensor-renamed", Medium, CHANGED),
    ("watermark/absent", High, NONE),
    ("watermark/claim-invalid", Critical, NONE),
    ("watermark/claim-not-opened", Critical, NONE),
    ("watermark/faint", Low, NONE),
    ("watermark/inconclusive", High, NONE),
    ("watermark/inside-intervals", Medium, CONDITIONED),
    ("watermark/loud", Low, NONE),
    ("watermark/other-original", Critical, NONE),
    ("watermark/other-payload", High, NONE),
    ("watermark/payload-weak", Low, NONE),
    ("watermark/present", High, NONE),
    ("watermark/uncommitted-key", Info, NONE),
    ("watermark/unpublished-original", Info, NONE),
];

/// Usual severity and public ids of a rule. Rules of the format area share theirs.
pub fn of(id: &str) -> (Severity, &'static [&'static str]) {
    match RULES.binary_search_by(|rule| rule.0.cmp(id)) {
        Ok(index) => (RULES[index].1, RULES[index].2),
        Err(_) => (High, MALFORMED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_in_order_and_found() {
        assert!(RULES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(of("integrity/header-changed").0, Medium);
        assert_eq!(of("integrity/tensor-changed").0, Critical);
        assert_eq!(of("watermark/inside-intervals").0, Medium);
        assert_eq!(of("format/overlap").0, High);
    }
}
