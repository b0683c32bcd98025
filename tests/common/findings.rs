//! What a report has found.

use serde_json::Value;

/// The findings of a report that are more than remarks.
pub(crate) fn findings(report: &Value) -> Vec<&Value> {
    let all = report["findings"].as_array().unwrap();
    all.iter().filter(|finding| finding["severity"] != "info").collect()
}

/// Rule and place (tensor, else file) of each finding.
pub(crate) fn rules(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    findings(report)
        .into_iter()
        .map(|finding| {
            let place =
                if finding["tensor"].is_null() { &finding["file"] } else { &finding["tensor"] };
            (text(&finding["rule"]), text(place))
        })
        .collect()
}
