//! `registry status`.

use super::args::{ListFormat, StatusArgs};
use super::{place, state_failure};
use crate::cli::args::{General, Showing};
use crate::cli::{CommandResult, Failure, exit, output};
use anyhow::Context;
use std::io::{self, BufWriter, Write};
use tensorseal_base::severity::Severity;
use tensorseal_core::judge::Verdict;
use tensorseal_core::record::{RegistrySummary, RunOutcome};
use tensorseal_core::verbs;
use tensorseal_registry::state::Database;
use tensorseal_report::human::Palette;
use tensorseal_report::registry::{Overview, html, human, inventory, json};

/// Prints the state of all models.
pub(super) fn run(args: &StatusArgs, general: &General) -> CommandResult {
    let path = place::state(&args.remembering)?;
    let database = Database::open_for_reading(&path).map_err(state_failure)?;
    let summary = database.summary().map_err(state_failure)?;
    let overview = Overview {
        command: "registry status",
        verdict: verdict(&summary, args.listing.fail_on, Database::has_writer(&path)),
        now: verbs::now()?,
        summary: &summary,
        records: &database,
        passed_over: None,
    };
    if let Some(path) = &args.html {
        output::write_file(path, &|out| html::write(&overview, None, out))
            .map_err(Failure::incomplete)?;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match args.listing.format {
        ListFormat::Json => json::write(&overview, &mut out),
        ListFormat::Csv => inventory::write(&overview, &mut out),
        ListFormat::Human if general.quiet && overview.verdict == Verdict::Pass => Ok(()),
        ListFormat::Human => {
            let problems = args.problems || general.quiet;
            let models = if problems { human::Models::Problems } else { human::Models::All };
            print(&overview, models, args.listing.showing, &mut out)
        }
    };
    finish(written.and_then(|()| out.flush()))?;
    Ok(match (overview.verdict, summary.total()) {
        (Verdict::Pass, 0) => exit::NOTHING,
        (Verdict::Pass, _) => exit::PASS,
        (Verdict::Fail, _) => exit::FINDINGS,
        (Verdict::Incomplete, _) => exit::INCOMPLETE,
    })
}

/// Prints the table, the findings and a summary line.
pub(super) fn print(
    overview: &Overview<'_>,
    models: human::Models,
    showing: Showing,
    out: &mut dyn Write,
) -> io::Result<()> {
    let palette = Palette::new(output::colour());
    human::table(overview, models, palette, out)?;
    human::findings(overview, showing.options(), palette, out)?;
    human::ending(overview, palette, out)
}

/// The verdict of a summary. A scan that did not end and is not `at_work` was killed.
fn verdict(summary: &RegistrySummary, fail_on: Severity, at_work: bool) -> Verdict {
    let fails = summary.findings.keys().any(|(severity, _)| *severity >= fail_on);
    let last = summary.last_run.as_ref();
    let incomplete = last.is_some_and(|run| {
        !run.errors.is_empty()
            || matches!(run.outcome, RunOutcome::Incomplete | RunOutcome::Interrupted)
            || run.outcome == RunOutcome::Running && !at_work
    });
    match (fails, incomplete) {
        (true, _) => Verdict::Fail,
        (false, true) => Verdict::Incomplete,
        (false, false) => Verdict::Pass,
    }
}

/// A reader that closed the pipe has read enough.
pub(super) fn finish(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output").map_err(Failure::incomplete),
    }
}
