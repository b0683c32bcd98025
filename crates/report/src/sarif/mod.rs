//! SARIF 2.1.0, the format of code scanning. Each finding is a result. Its region is a byte range of the file, and its
//! logical location is the tensor.

mod catalogues;
mod uri;

use super::profile::Profile;
use super::{Report, safe_text, summary};
use catalogues::ReferencedRules;
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use tensorseal_core::judge::finding::Disposition;
use tensorseal_core::judge::rules::find_rule;
use tensorseal_core::judge::{Finding, Severity, Verdict};
use uri::ArtifactUris;

/// The schema of the standard.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Name of the fingerprint, which identifies a finding across runs.
const FINGERPRINT: &str = "tensorsealFinding/v1";

/// Writes the log.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &log(report))?;
    out.write_all(b"\n")
}

fn log(report: &Report) -> Value {
    json!({ "$schema": SCHEMA, "version": "2.1.0", "runs": [run(report)] })
}

fn run(report: &Report) -> Value {
    let ids: BTreeSet<&str> = report.findings.iter().map(|finding| finding.rule).collect();
    let described = ReferencedRules::of(&ids);
    let places = ArtifactUris::of(report);
    let profiles: HashMap<&str, &Profile> =
        report.profiles.iter().map(|profile| (profile.tensor.as_str(), profile)).collect();
    let mut seen = HashMap::new();
    let results: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            let profile = finding.tensor.as_deref().and_then(|t| profiles.get(t)).copied();
            result(finding, profile, &described, &places, &mut seen, report)
        })
        .collect();
    let mut run = json!({
        "tool": { "driver": {
            "name": report.tool.name,
            "version": report.tool.version,
            "semanticVersion": report.tool.version,
            "rules": described.rules(),
            "supportedTaxonomies": described.supported(),
        } },
        "taxonomies": described.taxonomies(),
        "automationDetails": { "id": format!("{}/{}/", report.tool.name, report.command.replace(' ', "-")) },
        "invocations": [invocation(report)],
        "originalUriBaseIds": places.bases(),
        "artifacts": places.artifacts(),
        "results": results,
        "columnKind": "unicodeCodePoints",
        "properties": {
            "command": report.command,
            "verdict": report.verdict,
            "model": report.model,
            "coverage": {
                "bytes_total": report.coverage.bytes_total,
                "bytes_checked": report.coverage.bytes_checked,
                "weights_bytes_not_audited": report.coverage.weights_bytes_not_audited,
                "not_understood": report.coverage.not_understood,
            },
        },
    });
    if let Some(policy) = &report.policy {
        run["properties"]["policy"] = json!(policy);
    }
    run
}

fn invocation(report: &Report) -> Value {
    let mut invocation = json!({
        "executionSuccessful": report.verdict != Verdict::Incomplete,
        "exitCode": report.exit_code,
    });
    if let Some(error) = &report.error {
        let text = plain(&safe_text::clipped(error, safe_text::MESSAGE));
        invocation["toolExecutionNotifications"] =
            json!([{ "level": "error", "message": { "text": text } }]);
    }
    invocation
}

fn result(
    finding: &Finding,
    profile: Option<&Profile>,
    described: &ReferencedRules,
    places: &ArtifactUris,
    seen: &mut HashMap<[u8; 16], u64>,
    report: &Report,
) -> Value {
    let title = find_rule(finding.rule).map_or(finding.rule, |rule| rule.title);
    let place = summary::place(finding).map(safe_text::name);
    let message = match place {
        Some(place) => {
            format!("{place}: {}", safe_text::clipped(&finding.message, safe_text::MESSAGE))
        }
        None => format!("{title}: {}", safe_text::clipped(&finding.message, safe_text::MESSAGE)),
    };
    let mut properties = Map::new();
    properties.insert("severity".to_owned(), finding.severity.name().into());
    if !finding.evidence.is_empty() {
        properties.insert("evidence".to_owned(), json!(finding.evidence));
    }
    for (name, range) in
        [("element_range", finding.element_range), ("row_range", finding.row_range)]
    {
        if let Some(range) = range {
            properties.insert(name.to_owned(), json!(range));
        }
    }
    if let Some(standing) = &finding.standing {
        properties.insert("standing".to_owned(), json!(standing));
    }
    // A policy may fail on info findings, too.
    let kind_is_fail = finding.severity > Severity::Info || report.fails(finding);
    let mut result = json!({
        "ruleId": finding.rule,
        "ruleIndex": described.index(finding.rule),
        "kind": if kind_is_fail { "fail" } else { "informational" },
        "level": if kind_is_fail && finding.severity == Severity::Info { "note" } else { level(finding.severity) },
        "message": { "text": plain(&message) },
        "locations": [location(finding, profile, places, report)],
        "partialFingerprints": { FINGERPRINT: fingerprint(finding, seen) },
        "properties": properties,
    });
    if let Some(Disposition::Allowed { reason, .. }) = &finding.standing {
        let justification = plain(&safe_text::clipped(reason, safe_text::MESSAGE));
        result["suppressions"] =
            json!([{ "kind": "external", "status": "accepted", "justification": justification }]);
    }
    result
}

/// Returns the SARIF level of a severity. Info findings are no failures and have the level `none`.
fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
        Severity::Info => "none",
    }
}

fn location(
    finding: &Finding,
    profile: Option<&Profile>,
    places: &ArtifactUris,
    report: &Report,
) -> Value {
    let mut location = Map::new();
    let file = finding.file.as_deref().or(profile.map(|profile| profile.file.as_str()));
    if let Some(artifact) = file.and_then(|file| places.artifact(file)) {
        let mut physical = json!({ "artifactLocation": artifact });
        if let Some([start, end]) = region(finding, profile) {
            physical["region"] = json!({ "byteOffset": start, "byteLength": end - start });
        }
        location.insert("physicalLocation".to_owned(), physical);
    }
    let (name, kind) = match &finding.tensor {
        Some(tensor) => (tensor, "member"),
        None => (&report.model.path, "object"),
    };
    let mut logical =
        vec![json!({ "fullyQualifiedName": plain(&safe_text::name(name)), "kind": kind })];
    if let Some(other) = &finding.other_tensor {
        logical.push(
            json!({ "fullyQualifiedName": plain(&safe_text::name(other)), "kind": "member" }),
        );
    }
    location.insert("logicalLocations".to_owned(), logical.into());
    location.into()
}

/// Returns the byte range of a finding within its file. The range of a finding of a tensor counts from the start of
/// the tensor, so there is no region if the tensor's offset is unknown.
fn region(finding: &Finding, profile: Option<&Profile>) -> Option<[u64; 2]> {
    let range = match (&finding.tensor, profile) {
        (None, _) => finding.byte_range?,
        (Some(_), None) => return None,
        (Some(_), Some(profile)) => {
            let [start, end] = finding.byte_range.unwrap_or([0, profile.bytes]);
            [profile.offset.checked_add(start)?, profile.offset.checked_add(end)?]
        }
    };
    // The standard's integers are signed.
    (range[0] <= range[1] && range[1] <= i64::MAX as u64).then_some(range)
}

/// Returns a fingerprint that is the same in every run for the same rule, file and tensor. Findings that share all three
/// are numbered in order.
fn fingerprint(finding: &Finding, seen: &mut HashMap<[u8; 16], u64>) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("tensorseal 2026-11-24 finding fingerprint v1");
    for part in [
        Some(finding.rule),
        finding.file.as_deref(),
        finding.tensor.as_deref(),
        finding.other_tensor.as_deref(),
    ] {
        // Length prefixes separate the parts, and distinguish a missing part from an empty one.
        let part = part.map(str::as_bytes);
        hasher.update(&part.map_or(u64::MAX, |bytes| bytes.len() as u64).to_le_bytes());
        hasher.update(part.unwrap_or_default());
    }
    let mut key = [0; 16];
    hasher.finalize_xof().fill(&mut key);
    let number = seen.entry(key).and_modify(|number| *number += 1).or_insert(1);
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}:{number}")
}

/// Breaks up link syntax, which SARIF viewers would otherwise render.
fn plain(text: &str) -> String {
    text.replace("](", "] (")
}

#[cfg(test)]
mod tests;
