//! What came of a run, as it is recorded.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub exit: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// How two models are related, or which of the marks are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Digest of the normalised standard output, unless that is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout: String,
    /// What is said on standard error, or the digest of it where that is long.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// Digests of what was written: of the bytes of seals, of the normalised text of reports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// Rules of a policy that are not met, or by exception alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<String>,
    /// States of the models of a registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
}

pub(super) fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Enough of a digest of a text to tell that it changed.
pub(super) fn short_digest(text: &str) -> String {
    digest(text.as_bytes())[..16].to_owned()
}

/// The findings of a report, or of a model in it.
fn told(report: &Value) -> Vec<String> {
    let none = Vec::new();
    let all = report["findings"].as_array().unwrap_or(&none).iter();
    all.map(|finding| {
        let parts = ["severity", "rule", "file", "tensor"].map(|key| finding[key].as_str());
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    })
    .collect()
}

/// What a report says, member by member; of a text, nothing.
pub(super) fn of_report(report: &Value, outcome: &mut Outcome) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    outcome.verdict = text(&report["verdict"]);
    outcome.root = text(&report["model"]["root"]);
    outcome.findings = told(report);
    let mut results: Vec<String> = text(&report["comparison"]["relation"]).into_iter().collect();
    results.extend(text(&report["watermark"]["verdict"]));
    results.extend(list(&report["watermark"]).iter().filter_map(|mark| text(&mark["verdict"])));
    outcome.result = (!results.is_empty()).then(|| results.join(" "));
    for rule in list(&report["policy"]["rules"]) {
        let word = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        if word("outcome") != "pass" {
            let said = [word("outcome"), word("rule"), word("of")].join(" ");
            outcome.unmet.push(said.trim_end().to_owned());
        }
    }
    for model in list(&report["models"]) {
        let word = |key: &str| model[key].as_str().unwrap_or_default().to_owned();
        outcome.models.push(format!("{} {} {}", word("name"), word("state"), word("root")));
        let found = told(&model).into_iter();
        outcome.findings.extend(found.map(|found| format!("{}: {found}", word("name"))));
    }
}
