//! Notifications of a scan: files, messages, a command, a URL.

use super::args::Telling;
use super::reports::Reports;
use crate::cli::output;
use crate::judge::Verdict;
use crate::report::registry::{Overview, json, ocsf, prometheus, summary_line, syslog};
use crate::verbs::output::write_whole;
use anyhow::{Context, anyhow};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether everyone was told.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    pub all: bool,
}

/// A scan begins.
pub fn begin(telling: &Telling) {
    ping(telling, "/start");
}

/// A scan ended without a result.
pub fn broke(telling: &Telling) {
    ping(telling, "/fail");
}

/// A scan has ended: whoever was not reached is said on standard error, and the others are told all the same.
pub fn all(telling: &Telling, overview: &Overview<'_>, reports: Option<&Reports>) -> Told {
    let file = |path: &Path, write: &dyn Fn(&mut dyn Write) -> std::io::Result<()>| {
        write_whole(path, write).with_context(|| format!("cannot write {}", path.display()))
    };
    let mut told = Told { all: true };
    let mut done = |result: anyhow::Result<()>| {
        if let Err(error) = result {
            output::error(&error);
            told.all = false;
        }
    };
    if let Some(path) = &telling.prometheus {
        done(file(path, &|out| prometheus::write(overview, &prometheus::registry_of(path), out)));
    }
    if let Some(path) = &telling.ocsf {
        done(file(path, &|out| ocsf::write(overview, out)));
    }
    if let Some(target) = &telling.syslog {
        done(syslog::send(overview, target).map(|_| ()).map_err(Into::into));
    }
    if let Some(reports) = reports {
        done(reports.index(overview));
    }
    if let Some(command) = telling.notify.as_ref().filter(|_| overview.verdict != Verdict::Pass) {
        done(notify(command, overview));
    }
    ping(telling, if overview.verdict == Verdict::Pass { "" } else { "/fail" });
    told
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
        // What it prints is not part of the report.
        .stdout(Stdio::null())
        .spawn()
        .context("the command of --notify could not be run")?;
    if let Some(mut input) = child.stdin.take() {
        // It need not read it.
        let _ = json::write(overview, &mut input);
    }
    let status = child.wait().context("the command of --notify failed")?;
    match status.success() {
        true => Ok(()),
        false => Err(anyhow!("the command of --notify failed: {status}")),
    }
}

/// Whoever waits for it hears of a scan that did not reach him, too: by silence.
#[cfg(feature = "remote")]
fn ping(telling: &Telling, end: &str) {
    let Some(url) = &telling.ping else { return };
    if let Err(error) = crate::registry::source::remote::ask(&format!("{url}{end}")) {
        output::note(false, &format!("the request to the URL of --ping failed: {error}"));
    }
}

/// No URL is taken by a build that cannot ask for it.
#[cfg(not(feature = "remote"))]
fn ping(_: &Telling, _: &str) {}
