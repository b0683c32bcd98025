//! Notifications of a scan: files, messages, a command, a URL.

use super::args::Notifications;
use super::reports::Reports;
use crate::cli::output;
use anyhow::{Context, anyhow};
use std::process::{Command, Stdio};
use tensorseal_core::judge::Verdict;
use tensorseal_report::registry::{Overview, json, ocsf, prometheus, summary_line, syslog};

/// What became of the notifications.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    /// Whether all of them could be written or sent.
    pub complete: bool,
}

/// Announces that a scan begins.
pub(super) fn scan_started(notifications: &Notifications) {
    ping(notifications, "/start");
}

/// Announces that a scan ended without a result.
pub(super) fn failed(notifications: &Notifications) {
    ping(notifications, "/fail");
}

/// Sends the results of a scan. A notification that fails is reported on standard error and does not stop the others.
pub(super) fn scan_finished(
    notifications: &Notifications,
    overview: &Overview<'_>,
    reports: Option<&Reports>,
) -> Delivery {
    let mut delivery = Delivery { complete: true };
    let mut done = |result: anyhow::Result<()>| {
        if let Err(error) = result {
            output::error(&error);
            delivery.complete = false;
        }
    };
    if let Some(path) = &notifications.prometheus {
        done(output::write_file(path, &|out| {
            prometheus::write(overview, &prometheus::registry_of(path), out)
        }));
    }
    if let Some(path) = &notifications.ocsf {
        done(output::write_file(path, &|out| ocsf::write(overview, out)));
    }
    if let Some(target) = &notifications.syslog {
        done(syslog::send(overview, target).map(|_| ()).map_err(Into::into));
    }
    if let Some(reports) = reports {
        done(reports.index(overview));
    }
    if let Some(command) =
        notifications.notify.as_ref().filter(|_| overview.verdict != Verdict::Pass)
    {
        done(notify(command, overview));
    }
    ping(notifications, if overview.verdict == Verdict::Pass { "" } else { "/fail" });
    delivery
}

/// Runs the operator's command, with the JSON of the scan on its standard input.
fn notify(command: &str, overview: &Overview<'_>) -> anyhow::Result<()> {
    let verdict = match overview.verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Incomplete => "incomplete",
    };
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("TENSORSEAL_VERDICT", verdict)
        .env("TENSORSEAL_SUMMARY", summary_line(overview))
        .stdin(Stdio::piped())
        // Its output is not part of the report.
        .stdout(Stdio::null())
        .spawn()
        .context("the command of --notify could not be run")?;
    if let Some(mut input) = child.stdin.take() {
        // The command may ignore its input.
        let _ = json::write(overview, &mut input);
    }
    let status = child.wait().context("the command of --notify failed")?;
    match status.success() {
        true => Ok(()),
        false => Err(anyhow!("the command of --notify failed: {status}")),
    }
}

/// Requests a URL. A monitor that gets no request raises the alarm by itself, so a failure is only a note.
#[cfg(feature = "remote")]
fn ping(notifications: &Notifications, end: &str) {
    let Some(url) = &notifications.ping else { return };
    if let Err(error) = tensorseal_registry::source::remote::ping(&format!("{url}{end}")) {
        output::note(false, &format!("the request to the URL of --ping failed: {error}"));
    }
}

/// A build without a network refuses --ping.
#[cfg(not(feature = "remote"))]
fn ping(_: &Notifications, _: &str) {}
