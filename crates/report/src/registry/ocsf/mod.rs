//! Events of the Open Cybersecurity Schema Framework (OCSF) 1.8.0 as JSON lines, for security operations.
//!
//! - Scan Activity (6007): one event for the start of the scan and one for its end.
//! - Detection Finding (2004): one event for each finding of each model, between those two. A finding that persists is
//!   reported by every scan with the same `finding_info.uid`, so that receivers can deduplicate it.
//!
//! All events of a scan share one `metadata.correlation_uid`. Times are in milliseconds since 1970. The standard does
//! not list BLAKE3, so its digests have `algorithm_id` 99 (Other).

mod finding;

use super::Overview;
use crate::safe_text;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::{self, Write};
use tensorseal_base::severity::Severity;
use tensorseal_core::record::{RunOutcome, RunRecord};

/// The version of the schema.
pub const VERSION: &str = "1.8.0";

/// Largest number of errors that the last event of a scan lists. The rest is counted.
const LISTED: usize = 20;

/// Writes the events of the last scan and of all current findings, or of the findings alone if there was no scan.
///
/// # Errors
/// Returns an error if writing to `out` or reading the models fails.
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

/// What all events of a scan share.
struct ScanContext {
    uid: Option<String>,
    time: Timestamp,
}

/// Returns the identifier of a scan. The start time is part of it because the number is not unique across databases.
fn uid(run: &RunRecord) -> String {
    format!("{}-{}", run.id, run.started)
}

/// Returns the end of a scan, or its start if it has not ended.
fn time(run: &RunRecord) -> Timestamp {
    run.ended.unwrap_or(run.started)
}

/// Returns the metadata of an event: the program, and the scan that the event belongs to.
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
    event["message"] = format!("Scan of {sources} started").into();
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
        // A scan that is not complete is at least of medium severity.
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
            "type": "Model registry integrity",
        },
        "metadata": metadata(Some(&uid)),
    })
}

/// Returns the errors of a scan as one text.
fn errors(errors: &[String]) -> String {
    let told =
        errors.iter().take(LISTED).map(|error| safe_text::clipped(error, safe_text::MESSAGE));
    let mut text = told.collect::<Vec<_>>().join("; ");
    if errors.len() > LISTED {
        text += &format!("; … and {} more", errors.len() - LISTED);
    }
    text
}

/// Returns the OCSF id and name of a severity.
fn severity(severity: Severity) -> (u64, &'static str) {
    match severity {
        Severity::Info => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

/// Returns a number as `integer_t` of the standard, which receivers store in 32 bits. Larger numbers are capped.
fn integer(number: u64) -> Value {
    number.min(i32::MAX as u64).into()
}

#[cfg(test)]
mod tests;
