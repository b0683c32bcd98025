//! `tensorseal watermark claim`: the commitment to a mark, before the marked model is released.

use super::args::ClaimArgs;
use super::{claim_failure, marking, read_key};
use crate::cli::args::General;
use crate::cli::{CommandResult, Failure, exit, output, running};
use anyhow::Context;
use std::io::{self, Write};
use tensorseal_core::verbs::{RunInputs, open};
use tensorseal_core::watermark::claim::Claim;

pub(super) fn run(args: &ClaimArgs, general: &General) -> CommandResult {
    let key = read_key(&args.marking.key)?;
    if let Some(path) = &args.output {
        // Fail before hours of reading, not after.
        Claim::check_new(path).map_err(claim_failure)?;
    }
    let model = open::open_weights(&args.marking.model, args.opening.options())?;
    let unmarked = running::watched(general, |progress| {
        marking::measure(&model, &key, &args.measuring, progress)
    })?;
    running::note_device(&unmarked.measured.run, general);
    unmarked.refuse_marked()?;
    let mark = unmarked.mark(args.marking.payload, args.marking.strength.wanted(), false)?;
    let claim = Claim::new(
        &key,
        mark.payload,
        mark.alpha,
        &unmarked.measured.model.root,
        &unmarked.measured.carriers,
        unmarked.elements(),
    );
    RunInputs::default().check_unchanged(&[&model])?;
    match &args.output {
        Some(path) => {
            claim.write_new(path).map_err(claim_failure)?;
            if !general.quiet {
                let text =
                    format!("commitment  {}\nwritten     {}", claim.commitment, path.display());
                // The claim exists, even if this cannot be printed.
                writeln!(io::stdout(), "{text}").unwrap_or(());
            }
        }
        None => {
            let mut out = io::stdout().lock();
            let printed = claim.write(&mut out).and_then(|()| out.flush());
            printed.context("cannot write to standard output").map_err(Failure::incomplete)?;
        }
    }
    output::note(
        general.quiet,
        "next: sign and timestamp this claim and keep the unmarked model before you release the marked one",
    );
    Ok(exit::PASS)
}
