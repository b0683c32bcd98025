//! `tensorseal repair`: a copy of a damaged model with the flipped bits put back.

use super::args::RepairArgs;
use super::{Failure, Outcome, output, running};
use std::collections::BTreeSet;
use tensorseal::checkpoint::Checkpoint;
use tensorseal::engine::RunReport;
use tensorseal::examine::flips::{self, Compared};
use tensorseal::examine::sidecar;
use tensorseal::judge::integrity::{self, Options};
use tensorseal::judge::{Finding, Severity, Verdict};
use tensorseal::pinpoint::search::Limits;
use tensorseal::repair::{self, RepairError};
use tensorseal::report::Report;
use tensorseal::report::units::count;
use tensorseal::seal::Seal;
use tensorseal::seal::layout::{self, Damaged};
use tensorseal::stream::copy::CopyError;
use tensorseal::stream::progress::Progress;
use tensorseal::verbs::{Inputs, places, sealed};

/// What came of it.
enum Done {
    /// The model is the sealed one.
    Nothing,
    /// A copy was written, with so many bytes put back.
    Written(usize),
    /// Not all that changed is known.
    Unknown,
}

pub fn run(args: &RepairArgs) -> Outcome {
    let mut report = Report::new("repair", &args.model.display().to_string());
    let mut inputs = Inputs::default();
    let named = args.seal.as_deref();
    let sealed = sealed::read(&args.model, named, false, &mut inputs, &mut report)?;
    running::check_copy(&args.model, &args.output)?;
    let Some(sealed) = sealed else {
        // A seal that cannot be used says nothing of what the model was.
        inputs.settle(&[])?;
        report.judge(args.common.fail_on);
        return output::finish(&report, &args.common, &|_, _| Ok(()));
    };
    let seals = places::seals_inside(&args.model, named);
    let mut model = running::open(&args.model, &args.opening, seals, Some(sealed.naming_files()))?;
    layout::impose(&mut model, &sealed);
    let mut findings = Vec::new();
    let (done, found, run) = running::watched(&args.measuring, args.common.quiet, |progress| {
        work(args, (&model, &inputs), &sealed, &mut findings, progress)
    })?;
    if !matches!(done, Done::Written(_)) {
        inputs.settle(&[&model])?;
    }
    report.fill(&model, &found.model, &run);
    report.findings.append(&mut findings);
    report.judge(args.common.fail_on);
    if matches!(done, Done::Unknown) && report.verdict == Verdict::Pass {
        // Whatever is let pass elsewhere: nothing was repaired.
        report.conclude(Verdict::Fail);
    }
    let repaired: Vec<String> = report
        .findings
        .iter()
        .filter(|finding| finding.evidence.contains_key("pinpointed"))
        .map(|finding| {
            let place = finding.tensor.as_ref().or(finding.file.as_ref());
            format!("{}: {}", place.cloned().unwrap_or_default(), finding.message)
        })
        .collect();
    output::finish(&report, &args.common, &|out, palette| match &done {
        Done::Nothing => {
            writeln!(
                out,
                "intact    nothing to repair: the model is the sealed one; nothing was written"
            )
        }
        Done::Unknown => writeln!(
            out,
            "repaired  nothing: not all changes are known to the bit; nothing was written"
        ),
        Done::Written(bytes) => {
            let path = palette.bold(&args.output.display().to_string());
            for line in &repaired {
                writeln!(out, "put back  {line}")?;
            }
            writeln!(out, "repaired  {path}: {} put back", count(*bytes as u64, "byte"))?;
            writeln!(
                out,
                "verified  the copy is the sealed model, every byte of it; the seal was not copied"
            )
        }
    })
}

fn work(
    args: &RepairArgs,
    (model, inputs): (&Checkpoint, &Inputs),
    sealed: &Seal,
    findings: &mut Vec<Finding>,
    progress: &Progress,
) -> Result<(Done, Seal, RunReport), Failure> {
    let options = running::run_options(&args.measuring);
    let (found, run) =
        repair::measure_as_sealed(model, sealed, &options, progress).map_err(running::failure)?;
    *findings =
        integrity::compare(sealed, &found, &Damaged::default(), Options::default()).findings;
    if findings.is_empty() {
        return Ok((Done::Nothing, found, run));
    }
    let path = sealed::place(&args.model, args.seal.as_deref());
    let mut of_fine = Vec::new();
    let fine = sidecar::open(&path, sealed, &mut of_fine);
    let compared = Compared { model, sealed, found: &found, damaged: &BTreeSet::new() };
    let mut all: Vec<&mut Finding> = findings.iter_mut().collect();
    let limits = Limits { searches: args.pinpointing.pinpoint_limit };
    let (search, explained) =
        flips::pinpoint(&compared, &mut all, fine, limits, options.threads, progress)
            .map_err(running::failure)?;
    of_fine.extend(search.fine.map(|error| sidecar::finding(&path, &error)));
    if explained.contains(&false) {
        findings.append(&mut of_fine);
        return Ok((Done::Unknown, found, run));
    }
    let patches = repair::patches(model, &search.places);
    let settled = || inputs.settle(&[model]);
    match repair::write(model, sealed, &patches, (&args.output, &settled), &options, progress) {
        Ok((found, run)) => {
            // They are true of the model that was read, and of the copy no more.
            findings.iter_mut().for_each(|finding| finding.severity = Severity::Info);
            // What is wrong with the sidecar did no harm.
            of_fine.iter_mut().for_each(|finding| finding.severity = Severity::Low);
            findings.append(&mut of_fine);
            Ok((Done::Written(patches.len()), found, run))
        }
        Err(RepairError::Remaining(remaining)) => {
            *findings = remaining;
            findings.append(&mut of_fine);
            Ok((Done::Unknown, found, run))
        }
        Err(RepairError::Run(error)) => Err(running::failure(error)),
        Err(RepairError::Copy(error @ CopyError::Exists(_))) => Err(Failure::usage(error)),
        Err(error) => Err(Failure::incomplete(error)),
    }
}
