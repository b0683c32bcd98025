//! Events of the Open Cybersecurity Schema Framework 1.8.0, as JSON lines, for security operations.
//!
//! - Scan Activity (6007): one when the scan began and one when it ended.
//! - Detection Finding (2004): one for each finding of each model, between them. A finding that stands is told in
//!   every scan, each time with the same `finding_info.uid`, so that the receiver counts it once.
//!
//! All events of a scan have one `metadata.correlation_uid`. Times are milliseconds since 1970. BLAKE3 is not
//! among the hash functions of the standard: a digest of it has `algorithm_id` 99, Other.

mod finding;

use super::Overview;
use crate::safe_text;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::{self, Write};
use tensorseal_base::severity::Severity;
use tensorseal_core::record::{RunOutcome, RunRecord};

/// Version of the schema.
pub const VERSION: &str = "1.8.0";

/// Errors of a scan that its last event tells; the rest is counted.
const TOLD: usize = 20;

/// Writes the events of the last scan, and of all findings that stand; without a scan, of the findings alone.
///
/// # Errors
/// Those of `out`, and of reading the models.
pub fn write(overview: &Overview<'_>, out: &mut dyn Write) -> io::Result<()> {
    let run = overview.summary.last_run.as_ref();
    if let Some(run) = run {
        line(&started(run), out)?;
    }
    let scan = ScanContext { uid: run.map(uid), time: run.map_or(overview.now, time) };
    overview.records.each(&mut |model| {
        model.findings.iter().try_for_each(|found| line(&finding::event(&scan, model, found), out))
    })?;
    match run {
        Some(run) if run.outcome != RunOutcome::Running => line(&ended(overview, run), out),
        _ => Ok(()),
    }
}

fn line(event: &Value, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, event)?;
    out.write_all(b"\n")
}

/// What the events of a scan have in common.
struct ScanContext {
    uid: Option<String>,
    time: Timestamp,
}

/// What the scan is called: the number alone would be the same in another database.
fn uid(run: &RunRecord) -> String {
    format!("{}-{}", run.id, run.started)
}

/// When it ended, or began if it has not.
fn time(run: &RunRecord) -> Timestamp {
    run.ended.unwrap_or(run.started)
}

/// Who made the event, and which scan it belongs to.
fn metadata(correlation: Option<&str>) -> Value {
    let mut metadata = json!({
        "version": VERSION,
        "product": {
            "name": "tensorseal",
            "vendor_name": "tensorseal",
            "version": env!("CARGO_PKG_VERSION"),
            "feature": {"name": "registry"},
        },
        "log_name": "registry",
    });
    if let Some(uid) = correlation {
        metadata["correlation_uid"] = uid.into();
    }
    metadata
}

fn started(run: &RunRecord) -> Value {
    let sources = safe_text::clipped(&run.sources.join(", "), safe_text::MESSAGE);
    let mut event = activity(1, "Started", run);
    event["time"] = run.started.as_millisecond().into();
    event["severity_id"] = 1.into();
    event["severity"] = "Informational".into();
    event["message"] = format!("A scan of {sources} began").into();
    event
}

fn ended(overview: &Overview<'_>, run: &RunRecord) -> Value {
    let (id, name) = match run.outcome {
        RunOutcome::Running | RunOutcome::Pass | RunOutcome::Fail => (2, "Completed"),
        RunOutcome::Incomplete => (6, "Error"),
        RunOutcome::Interrupted => (3, "Cancelled"),
    };
    let completed = id == 2;
    let worst = overview.summary.findings.keys().map(|(severity, _)| *severity).max();
    let (severity_id, severity) = match (worst, completed) {
        (worst, true) => severity(worst.unwrap_or(Severity::Info)),
        // What could not be checked is not well.
        (worst, false) => severity(worst.unwrap_or(Severity::Info).max(Severity::Medium)),
    };
    let mut event = activity(id, name, run);
    event["time"] = time(run).as_millisecond().into();
    event["severity_id"] = severity_id.into();
    event["severity"] = severity.into();
    event["status_id"] = if completed { 1 } else { 2 }.into();
    event["status"] = if completed { "Success" } else { "Failure" }.into();
    event["status_code"] = run.outcome.name().into();
    event["message"] = super::summary_line(overview).into();
    event["total"] = integer(run.models);
    event["num_detections"] = integer(overview.summary.findings.values().sum());
    event["num_skipped_items"] = integer(run.models.saturating_sub(run.deep_checked));
    event["unmapped"] = json!({
        "models_deep_checked": run.deep_checked,
        "bytes_read": run.bytes_read,
        "models": overview.summary.models,
    });
    if let Some(seconds) = run.seconds() {
        event["duration"] = ((seconds * 1000.0) as u64).into();
        event["end_time"] = time(run).as_millisecond().into();
    }
    if !run.errors.is_empty() {
        event["status_detail"] = errors(&run.errors).into();
    }
    event
}

fn activity(id: u64, name: &str, run: &RunRecord) -> Value {
    let uid = uid(run);
    json!({
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": 6007,
        "class_name": "Scan Activity",
        "activity_id": id,
        "activity_name": name,
        "type_uid": 600_700 + id,
        "type_name": format!("Scan Activity: {name}"),
        "start_time": run.started.as_millisecond(),
        "scan": {
            "uid": uid,
            "name": "tensorseal registry scan",
            "type_id": 99,
            "type": "Integrity of model registries",
        },
        "metadata": metadata(Some(&uid)),
    })
}

/// What could not be checked, in one text.
fn errors(errors: &[String]) -> String {
    let told = errors.iter().take(TOLD).map(|error| safe_text::clipped(error, safe_text::MESSAGE));
    let mut text = told.collect::<Vec<_>>().join("; ");
    if errors.len() > TOLD {
        text += &format!("; and {} more", errors.len() - TOLD);
    }
    text
}

/// Number and name of a severity.
fn severity(severity: Severity) -> (u64, &'static str) {
    match severity {
        Severity::Info => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

/// A number as the standard's `integer_t`, which receivers keep in 32 bits: what is larger is the largest of them.
fn integer(number: u64) -> Value {
    number.min(i32::MAX as u64).into()
}

#[cfg(test)]
mod tests;
