//! `tensorseal watermark keygen`: a secret key.

use super::args::KeygenArgs;
use super::key_failure;
use crate::cli::args::General;
use crate::cli::{CommandResult, Failure, exit, output};
use anyhow::Context;
use std::io::{self, Write};
use tensorseal_core::watermark::key::WatermarkKey;

pub(super) fn run(args: &KeygenArgs, general: &General) -> CommandResult {
    let key = WatermarkKey::generate().map_err(key_failure)?;
    key.write_new(&args.output, &args.note).map_err(key_failure)?;
    let mut out = io::stdout().lock();
    let printed = if general.quiet {
        Ok(())
    } else {
        writeln!(out, "key id    {}", key.id()).and_then(|()| writeln!(out, "written   {}, readable only by you: anyone who has it can detect and remove the watermark; keep a backup in a safe place", args.output.display()))
    };
    // The key exists, even if its id cannot be printed.
    printed.context("cannot write to standard output").map_err(Failure::incomplete)?;
    let key = crate::cli::shell::quoted(&args.output);
    let text = format!(
        "next: commit to it with `tensorseal watermark claim MODEL --key {key} -o claim.json`"
    );
    output::note(general.quiet, &text);
    Ok(exit::PASS)
}
