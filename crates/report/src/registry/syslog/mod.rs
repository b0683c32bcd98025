//! Syslog messages (RFC 5424) and their transports (RFC 5426, RFC 6587, local sockets).
//!
//! A scan sends a message for each finding above info, for each model that changed without a finding, and for each error.
//! A summary comes last. The number of findings of a model and of errors is limited; a message counts the rest.

mod message;
mod sender;
mod target;

pub use message::Origin;
pub use sender::{SyslogError, send};
pub use target::{Facility, Target, Transport};

use super::group::Group;
use super::{Overview, finding_uid, sentence};
use message::{Level, Message};
use std::io;
use tensorseal_base::severity::Severity;
use tensorseal_core::judge::Verdict;
use tensorseal_core::record::{ModelRecord, RecordedFinding, RunRecord};

/// Largest number of findings of a model, and of errors of a scan, that are sent.
const SENT: usize = 20;

/// Passes each message to `each`, formatted and without framing.
///
/// # Errors
/// Returns an error if `each` fails or the models cannot be read.
pub fn messages(
    overview: &Overview<'_>,
    origin: &Origin,
    each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut give = |message: Message| each(&message.format(origin, overview.now));
    overview.records.each(&mut |model| of_model(model, &mut give))?;
    let summary = overview.summary;
    if let Some(run) = &summary.last_run {
        errors(run, &mut give)?;
    }
    let level = match overview.verdict {
        Verdict::Pass => Level::Informational,
        Verdict::Fail => Level::Warning,
        Verdict::Incomplete => Level::Error,
    };
    let mut message = Message::new("SCAN", level, &sentence::summary_line(overview));
    if let Some(run) = &summary.last_run {
        message = message.with("run", &run.id.to_string()).with("outcome", run.outcome.name());
    }
    give(message)
}

type Give<'a> = dyn FnMut(Message) -> io::Result<()> + 'a;

fn of_model(model: &ModelRecord, give: &mut Give<'_>) -> io::Result<()> {
    let said = || model.findings.iter().filter(|finding| finding.severity > Severity::Info);
    for finding in said().take(SENT) {
        give(of_finding(model, finding))?;
    }
    let number = said().count();
    if number > SENT {
        let text = format!("… and {} more findings of this model", number - SENT);
        give(named(Message::new("FINDING", level(model.worst()), &text), model))?;
    }
    match Group::of(model) {
        Group::Alarm | Group::Review if number == 0 => {
            let level =
                if Group::of(model) == Group::Alarm { Level::Error } else { Level::Warning };
            let text = format!("{}: {}: {}", model.name, model.state.name(), model.detail);
            give(named(Message::new("MODEL", level, &text), model))
        }
        _ => Ok(()),
    }
}

fn of_finding(model: &ModelRecord, finding: &RecordedFinding) -> Message {
    let text = match finding.message.starts_with(&model.name) {
        true => finding.message.clone(),
        false => format!("{}: {}", model.name, finding.message),
    };
    let message = Message::new("FINDING", level(Some(finding.severity)), &text)
        .with("rule", &finding.rule)
        .with("severity", finding.severity.name())
        .with("uid", &finding_uid(model, finding));
    named(message, model)
        .with_some("file", finding.file.as_deref())
        .with_some("tensor", finding.tensor.as_deref())
}

fn named(message: Message, model: &ModelRecord) -> Message {
    message
        .with("source", &model.source)
        .with("model", &model.name)
        .with_some("version", model.version.as_deref())
        .with("state", model.state.name())
}

fn errors(run: &RunRecord, give: &mut Give<'_>) -> io::Result<()> {
    let id = run.id.to_string();
    for error in run.errors.iter().take(SENT) {
        give(Message::new("ERROR", Level::Error, error).with("run", &id))?;
    }
    match run.errors.len().saturating_sub(SENT) {
        0 => Ok(()),
        more => {
            let text = format!("… and {more} more errors");
            give(Message::new("ERROR", Level::Error, &text).with("run", &id))
        }
    }
}

fn level(severity: Option<Severity>) -> Level {
    match severity {
        Some(Severity::Critical) => Level::Critical,
        Some(Severity::High) => Level::Error,
        Some(Severity::Medium) => Level::Warning,
        Some(Severity::Low) => Level::Notice,
        Some(Severity::Info) | None => Level::Informational,
    }
}

#[cfg(test)]
mod tests;
