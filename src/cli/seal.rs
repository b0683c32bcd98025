//! `tensorseal seal`: measure a model once and write what it is.

use super::args::SealArgs;
use super::{CommandResult, output, running};
use crate::pinpoint::chunk_digests;
use crate::verbs::{SealOptions, seal};
use std::path::Path;

/// Runs the verb.
pub(super) fn run(args: &SealArgs) -> CommandResult {
    let mut options = SealOptions {
        output: args.output.clone(),
        distributions: !args.digest_only,
        sketch: args.sketch,
        file_digests: args.file_digests,
        chunk_digests: args.fine,
        opening: args.opening.options(),
        run: running::run_options(&args.measuring),
        fail_on: args.common.fail_on,
        ..SealOptions::default()
    };
    let report = running::watched(&args.measuring, args.common.quiet, |progress| {
        options.progress = progress.clone();
        Ok(seal(&args.model, &options)?)
    })?;
    output::finish(&report, &args.common, &|out, palette| {
        let Some(seal) = &report.seal else { return Ok(()) };
        writeln!(out, "sealed    {}", palette.bold(&seal.source))?;
        if args.fine {
            writeln!(
                out,
                "fine      {}",
                chunk_digests::path_of(Path::new(&seal.source)).display()
            )?;
        }
        writeln!(
            out,
            "unsigned  whoever can write the model can write this seal: keep the root elsewhere"
        )
    })
}
