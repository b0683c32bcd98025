//! `tensorseal audit`: what is wrong with the weights of a model, without trusting anything.

pub mod baseline;
mod carving;

use super::args::AuditArgs;
use super::{Failure, Outcome, output, profiles, running};
use std::io::{self, Write};
use tensorseal::audit::{self, Audited};
use tensorseal::checkpoint::Checkpoint;
use tensorseal::code;
use tensorseal::examine::weights;
use tensorseal::judge::{self, Finding, Severity, structure};
use tensorseal::report::Report;
use tensorseal::report::human::Palette;
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
    let baseline = baseline::open(named, &args.model, &args.opening, &mut report)?;
    let options = running::run_options(&args.measuring);
    let (audited, compared, found) =
        running::watched(&args.measuring, args.common.quiet, |progress| {
            let audited = audit::measure(&model, &options, progress).map_err(running::failure)?;
            let compared = baseline
                .map(|baseline| baseline.compare(&model, &audited, &options, progress))
                .transpose()?;
            let found = findings(&model, &audited, options.threads, progress)?;
            Ok((audited, compared, found))
        })?;
    running::say_who_measured(&audited.run, args.common.quiet);
    running::fill(&mut report, &model, &audited.model, &audited.run);
    if let Some(directory) = &args.extract {
        let written = carving::write(&model, &found, directory)?;
        output::note(args.common.quiet, &written);
    }
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
    report.profiles = profiles::audited(&report, &model, &audited);
    output::finish(&report, &args.common, &|out, palette| {
        summary(out, palette, &model, &audited, &report)
    })
}

/// What an audit finds in a model by itself: in its structure, its weights, and what goes along with them.
/// Weights in two formats are read once more.
pub fn findings(
    model: &Checkpoint,
    audited: &Audited,
    threads: usize,
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
