//! `tensorseal repair`: a copy of a damaged model with the flipped bits put back.

use super::args::RepairArgs;
use super::{CommandResult, output, running};
use crate::pinpoint::search::SearchLimits;
use crate::report::units::count;
use crate::verbs::repair::{Repair, RepairOptions, RepairOutcome, repair};

/// Runs the verb.
pub(super) fn run(args: &RepairArgs) -> CommandResult {
    let mut options = RepairOptions {
        seal: args.seal.clone(),
        limits: SearchLimits { searches: args.pinpointing.pinpoint_limit },
        opening: args.opening.options(),
        run: running::run_options(&args.measuring),
        fail_on: args.common.fail_on,
        ..RepairOptions::new(&args.output)
    };
    let Repair { report, outcome } =
        running::watched(&args.measuring, args.common.quiet, |progress| {
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
    output::finish(&report, &args.common, &|out, palette| match outcome {
        RepairOutcome::NoSeal => Ok(()),
        RepairOutcome::Intact => {
            writeln!(
                out,
                "intact    nothing to repair: the model is the sealed one; nothing was written"
            )
        }
        RepairOutcome::Unknown => writeln!(
            out,
            "repaired  nothing: not all changes are known to the bit; nothing was written"
        ),
        RepairOutcome::Written { bytes } => {
            let path = palette.bold(&args.output.display().to_string());
            for line in &repaired {
                writeln!(out, "put back  {line}")?;
            }
            writeln!(out, "repaired  {path}: {} put back", count(bytes as u64, "byte"))?;
            writeln!(
                out,
                "verified  the copy is the sealed model, every byte of it; the seal was not copied"
            )
        }
    })
}
