//! `tensorseal audit`: what is wrong with the weights of a model, without trusting anything.

pub mod baseline;
mod carving;

use super::args::AuditArgs;
use super::inputs::Inputs;
use super::{Failure, Outcome, exit, output, profiles, running};
use baseline::Compared;
use std::io::{self, Write};
use tensorseal::audit::{self, Audited};
use tensorseal::checkpoint::Checkpoint;
use tensorseal::code;
use tensorseal::engine::Threads;
use tensorseal::examine::weights;
use tensorseal::judge::{self, Finding, Severity, structure};
use tensorseal::report::Report;
use tensorseal::report::human::{Palette, shown};
use tensorseal::report::units::count;
use tensorseal::stream::progress::Progress;

/// Runs the verb.
pub fn run(args: &AuditArgs) -> Outcome {
    if let Some(directory) = &args.extract {
        carving::require_new(directory)?;
    }
    let mut report = Report::new("audit", &args.model.display().to_string());
    let seals = running::seals_inside(&args.model, baseline::seal_path(args.baseline.as_deref()));
    let model = running::open(&args.model, &args.opening, seals, None)?;
    let named = args.baseline.as_deref();
    let mut inputs = Inputs::default();
    let baseline = baseline::open(named, &args.model, &args.opening, &mut inputs, &mut report)?;
    let options = running::run_options(&args.measuring);
    let (audited, compared, found) =
        running::watched(&args.measuring, args.common.quiet, |progress| {
            let audited = audit::measure(&model, &options, progress).map_err(running::failure)?;
            let compared = baseline
                .map(|baseline| baseline.compare(&model, &audited, &options, progress))
                .transpose()?;
            let found = findings(&model, &audited, &options.threads, progress)?;
            Ok((audited, compared, found))
        })?;
    running::say_who_measured(&audited.run, args.common.quiet);
    running::fill(&mut report, &model, &audited.model, &audited.run);
    let carved = match &args.extract {
        Some(directory) => Some((carving::carve(&model, &found, directory)?, directory)),
        None => None,
    };
    report.findings.extend(found);
    if let Some(compared) = &compared {
        report.findings.extend(compared.findings(&model, &audited, args.common.quiet));
    }
    if args.full {
        let facts = audited.facts.iter().map(
            |facts| serde_json::json!({"name": model.tensors[facts.tensor].name, "facts": facts}),
        );
        report.tensors = Some(facts.collect());
    }
    report.judge(args.common.fail_on);
    running::withhold_without_weights(&mut report, &model);
    if args.require_all {
        withhold_in_part(&mut report);
    }
    report.profiles = profiles::audited(&report, &model, &audited);
    if let Some((carved, _)) = &carved {
        carved.place().into_iter().for_each(|place| inputs.made(place));
    }
    let original = compared.and_then(Compared::into_original);
    inputs.settle(&[&model].into_iter().chain(&original).collect::<Vec<_>>())?;
    if let Some((carved, directory)) = carved {
        output::note(args.common.quiet, &carved.keep(directory)?);
    }
    output::finish(&report, &args.common, &|out, palette| {
        summary(out, palette, &model, &audited, &report)
    })
}

/// `--require-all`: weights that were not looked into are no pass, nor is what could hold some.
fn withhold_in_part(report: &mut Report) {
    let coverage = &report.coverage;
    let unknown = coverage.not_understood.len() as u64;
    let why = coverage.not_audited().or_else(|| {
        let first = coverage.not_understood.first()?;
        Some(format!(
            "{} not understood, the first is {}",
            count(unknown, "file"),
            shown(&first.path)
        ))
    });
    if let Some(why) = why {
        report.withhold(format!("--require-all: {why}"), exit::INCOMPLETE);
    }
}

/// What an audit finds in a model by itself: in its structure, its weights, and what goes along with them.
/// Weights in two formats are read once more.
pub fn findings(
    model: &Checkpoint,
    audited: &Audited,
    threads: &Threads,
    progress: &Progress,
) -> Result<Vec<Finding>, Failure> {
    let mut found: Vec<Finding> = model.problems.iter().map(structure::finding).collect();
    found.extend(weights::judge(model, audited, threads, progress).map_err(running::failure)?);
    let code = code::examine(model).map_err(Failure::incomplete)?;
    found.extend(judge::code::findings(&code));
    Ok(found)
}

/// What was looked at, and what the remarks are.
fn summary(
    out: &mut dyn Write,
    palette: Palette,
    model: &Checkpoint,
    audited: &Audited,
    report: &Report,
) -> io::Result<()> {
    let judged = audited.facts.iter().filter(|f| model.tensors[f.tensor].dtype.is_float()).count();
    let others = model.tensors.len() - judged;
    let and = match others {
        0 => String::new(),
        n => format!("; {} of other types: digests and pages only", count(n as u64, "tensor")),
    };
    writeln!(out, "audited   {}{and}", count(judged as u64, "weight tensor"))?;
    if audited.page_share < 1.0 {
        let rate = 1.0 / audited.page_share;
        writeln!(out, "pages     one of {rate:.0} doubled pages is found in a model of this size")?;
    }
    let remarks = report.findings.iter().filter(|f| f.severity == Severity::Info).count();
    if report.findings.len() > remarks {
        let hint = "what a finding means and what to do: tensorseal explain RULE";
        writeln!(out, "{}", palette.dim(hint))?;
    }
    Ok(())
}
