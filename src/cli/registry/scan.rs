//! `registry scan`.

use super::args::{ListFormat, ScanArgs};
use super::notify::{self, Delivery};
use super::reports::Reports;
use super::values::Rotation;
use super::{place, state_failure, status};
use crate::cli::args::General;
use crate::cli::{CommandResult, Failure, exit, output, running};
use anyhow::anyhow;
use jiff::Timestamp;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use tensorseal_core::judge::Verdict;
use tensorseal_core::policy::Age;
use tensorseal_core::record::{RunOutcome, RunRecord};
use tensorseal_engine::stream::rate_limiter::RateLimiter;
use tensorseal_registry::scan::{
    CheckOptions, CheckedModel, DeepCheckSchedule, RotationPart, Scan, ScanResult,
};
use tensorseal_registry::source::{self, Source};
use tensorseal_registry::state::Database;
use tensorseal_report::registry::{Overview, human, inventory, json};

/// Scans registries and sends the notifications.
pub(super) fn run(args: &ScanArgs, general: &General) -> CommandResult {
    let sources = open(args)?;
    let path = place::state(&args.remembering)?;
    let (database, made) =
        Database::open_for_writing(&path, args.wait_lock).map_err(state_failure)?;
    if made {
        let text = format!("created state database {}", path.display());
        output::note(general.quiet, &text);
    }
    notify::scan_started(&args.notifications);
    let reports = args.notifications.reports.as_deref().map(Reports::new).transpose()?;
    let scanned = match scan((args, general), &database, &sources, reports.as_ref()) {
        Ok(scanned) => scanned,
        Err(failure) => {
            notify::failed(&args.notifications);
            return Err(failure);
        }
    };
    let summary = database.summary().map_err(state_failure)?;
    let overview = Overview {
        command: "registry scan",
        verdict: verdict(scanned.run.outcome),
        now: Timestamp::now(),
        summary: &summary,
        records: &database,
        passed_over: Some(&scanned.skipped),
    };
    let delivery = notify::scan_finished(&args.notifications, &overview, reports.as_ref());
    print(args, general, &overview)?;
    if overview.verdict == Verdict::Fail && args.listing.format == ListFormat::Human {
        let explain = "next: `tensorseal explain RULE` says what a finding means";
        let accept =
            "accept an intended change with `tensorseal registry accept MODEL --reason TEXT`";
        output::note(general.quiet, &format!("{explain}; {accept}"));
    }
    code(&scanned, delivery)
}

fn open(args: &ScanArgs) -> Result<Vec<Box<dyn Source>>, Failure> {
    let spool = args.spool.clone().unwrap_or_else(std::env::temp_dir);
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    for name in &args.sources {
        let opened = source::open(name, &spool).map_err(Failure::usage)?;
        if sources.iter().any(|other| other.name() == opened.name()) {
            return Err(Failure::usage(anyhow!(
                "{} is given twice; give each source once",
                opened.name()
            )));
        }
        sources.push(opened);
    }
    Ok(sources)
}

fn scan(
    (args, general): (&ScanArgs, &General),
    database: &Database,
    sources: &[Box<dyn Source>],
    reports: Option<&Reports>,
) -> Result<ScanResult, Failure> {
    let mut run = running::run_options(&args.measuring);
    run.rate_limiter = args.limit_rate.map(|rate| Arc::new(RateLimiter::new(rate)));
    let max_age = args.max_age.map(Age::duration);
    let due = DeepCheckSchedule {
        max_age,
        part: part((args, general), database)?,
        everything: args.read_all,
    };
    let mut failed = None;
    let scanned = running::watched(general, |progress| {
        let mut each = |model: &CheckedModel<'_>| {
            if let Some(Err(error)) = reports.map(|reports| reports.write(model)) {
                failed.get_or_insert(error);
            }
        };
        let mut scan = Scan {
            database,
            schedule: due,
            check_options: CheckOptions { run, ..CheckOptions::default() },
            exclude: &args.exclude,
            fail_on: args.listing.fail_on,
            progress,
            clock: &Timestamp::now,
            on_checked: &mut each,
        };
        scan.run(sources).map_err(state_failure)
    })?;
    match failed {
        Some(error) => Err(Failure::incomplete(error)),
        None => Ok(scanned),
    }
}

fn part(
    (args, general): (&ScanArgs, &General),
    database: &Database,
) -> Result<Option<RotationPart>, Failure> {
    Ok(match args.read_subset {
        None => None,
        Some(Rotation::Part(part)) => Some(part),
        Some(Rotation::Next(of)) => {
            let index = database.next_part(of).map_err(state_failure)?;
            output::note(general.quiet, &format!("reading part {}/{of} of all models", index + 1));
            Some(RotationPart { index, count: of })
        }
    })
}

fn verdict(outcome: RunOutcome) -> Verdict {
    match outcome {
        RunOutcome::Pass => Verdict::Pass,
        RunOutcome::Fail => Verdict::Fail,
        RunOutcome::Running | RunOutcome::Incomplete | RunOutcome::Interrupted => {
            Verdict::Incomplete
        }
    }
}

fn print(args: &ScanArgs, general: &General, overview: &Overview<'_>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match args.listing.format {
        ListFormat::Json => json::write(overview, &mut out),
        ListFormat::Csv => inventory::write(overview, &mut out),
        ListFormat::Human if general.quiet && overview.verdict == Verdict::Pass => Ok(()),
        ListFormat::Human => {
            status::print(overview, human::Models::Problems, args.listing.showing, &mut out)
        }
    };
    status::finish(written.and_then(|()| out.flush()))
}

/// The exit code: findings come before everything that could not be done.
fn code(scanned: &ScanResult, delivery: Delivery) -> CommandResult {
    let ScanResult { run: RunRecord { outcome, .. }, has_models, .. } = scanned;
    Ok(match outcome {
        RunOutcome::Interrupted => exit::INTERRUPTED,
        RunOutcome::Fail => exit::FINDINGS,
        RunOutcome::Incomplete | RunOutcome::Running => exit::INCOMPLETE,
        RunOutcome::Pass if !delivery.complete => exit::INCOMPLETE,
        RunOutcome::Pass if !has_models => exit::NOTHING,
        RunOutcome::Pass => exit::PASS,
    })
}
