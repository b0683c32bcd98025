//! `tensorseal repair`: a copy of a damaged model with the flipped bits restored.

use super::args::{General, RepairArgs};
use super::{CommandResult, exit, output, running};
use tensorseal_core::pinpoint::search::SearchLimits;
use tensorseal_core::verbs::locations::default_seal;
use tensorseal_core::verbs::repair::{Repair, RepairOptions, RepairOutcome, repair};
use tensorseal_report::units::count;

/// Runs the verb.
pub(super) fn run(args: &RepairArgs, general: &General) -> CommandResult {
    let mut options = RepairOptions::new(&args.output);
    options.seal = args.seal.clone();
    options.limits = SearchLimits::new(args.pinpointing.pinpoint_limit);
    options.opening = args.opening.options();
    options.run = running::run_options(&args.measuring);
    options.fail_on = args.common.fail_on;
    let Repair { report, outcome } = running::watched(general, |progress| {
        options.progress = progress.clone();
        Ok(repair(&args.model, &options)?)
    })?;
    let repaired: Vec<String> = report
        .findings
        .iter()
        .filter(|finding| finding.evidence.contains_key("pinpointed"))
        .map(|finding| {
            let place = finding.tensor.as_ref().or(finding.file.as_ref());
            format!("{}: {}", place.cloned().unwrap_or_default(), finding.message)
        })
        .collect();
    let code = output::finish(&report, (&args.common, general), &|out, palette| match outcome {
        RepairOutcome::NoSeal => Ok(()),
        RepairOutcome::Intact => {
            writeln!(
                out,
                "intact    nothing to repair: the model matches its seal; nothing was written"
            )
        }
        RepairOutcome::Unknown => writeln!(
            out,
            "repaired  nothing: not every change could be traced to bit flips; nothing was written"
        ),
        RepairOutcome::Written { bytes } => {
            let path = palette.bold(&args.output.display().to_string());
            for line in &repaired {
                writeln!(out, "restored  {line}")?;
            }
            writeln!(out, "repaired  {path}: {} restored", count(bytes as u64, "byte"))?;
            writeln!(
                out,
                "verified  every byte of the copy matches the seal; seal and signature were not copied"
            )
        }
    })?;
    if code == exit::PASS && matches!(outcome, RepairOutcome::Written { .. }) {
        output::next(&args.common, general, &next(args));
    }
    Ok(code)
}

/// How to verify the copy, which has no seal.
fn next(args: &RepairArgs) -> String {
    let seal = args.seal.clone().unwrap_or_else(|| default_seal(&args.model));
    let (copy, seal) = (crate::cli::shell::quoted(&args.output), crate::cli::shell::quoted(&seal));
    format!("`tensorseal verify {copy} --seal {seal}`")
}
