//! `tensorseal seal`: measure a model once and write what it is.

use super::args::{General, SealArgs};
use super::{CommandResult, exit, output, running};
use std::path::Path;
use tensorseal_core::pinpoint::chunk_digests;
use tensorseal_core::verbs::{SealOptions, seal};

/// Runs the verb.
pub(super) fn run(args: &SealArgs, general: &General) -> CommandResult {
    let mut options = SealOptions::default();
    options.output = args.output.clone();
    options.distributions = !args.digest_only;
    options.sketch = args.sketch;
    options.file_digests = args.file_digests;
    options.chunk_digests = args.fine;
    options.opening = args.opening.options();
    options.run = running::run_options(&args.measuring);
    options.fail_on = args.common.fail_on;
    let report = running::watched(general, |progress| {
        options.progress = progress.clone();
        Ok(seal(&args.model, &options)?)
    })?;
    let code = output::finish(&report, (&args.common, general), &|out, palette| {
        let Some(seal) = &report.seal else { return Ok(()) };
        writeln!(out, "sealed    {}", palette.bold(&seal.source))?;
        if args.fine {
            writeln!(
                out,
                "fine      {}",
                chunk_digests::path_of(Path::new(&seal.source)).display()
            )?;
        }
        if let Some(digest) = &seal.digest {
            writeln!(out, "digest    {digest}")?;
        }
        writeln!(
            out,
            "unsigned  anyone who can change the model can replace this seal: sign it, or keep its digest elsewhere; the root covers tensors only"
        )
    })?;
    if code == exit::PASS {
        output::next(&args.common, general, &next(args));
    }
    Ok(code)
}

/// How to sign what was sealed.
fn next(args: &SealArgs) -> String {
    let seal =
        args.output.as_deref().map(|path| format!(" --seal {}", crate::cli::shell::quoted(path)));
    format!(
        "`tensorseal sign {} --attest seal{} --key KEY.pem`",
        crate::cli::shell::quoted(&args.model),
        seal.unwrap_or_default()
    )
}
