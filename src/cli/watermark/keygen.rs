//! `tensorseal watermark keygen`: a secret key.

use super::args::KeygenArgs;
use super::key_failure;
use crate::cli::{CommandResult, Failure, exit};
use crate::watermark::key::WatermarkKey;
use anyhow::Context;
use std::io::{self, Write};

pub(super) fn run(args: &KeygenArgs) -> CommandResult {
    let key = WatermarkKey::generate().map_err(key_failure)?;
    key.write_new(&args.output, &args.note).map_err(key_failure)?;
    let mut out = io::stdout().lock();
    let printed = if args.quiet {
        writeln!(out, "{}", key.id())
    } else {
        writeln!(out, "key id    {}", key.id()).and_then(|()| {
            writeln!(
                out,
                "written   {}, readable by you alone: whoever has it can find the mark and take it out; keep a copy in a safe place",
                args.output.display()
            )
        })
    };
    // The key is there, whether its id could be printed or not.
    printed.context("cannot write to standard output").map_err(Failure::incomplete)?;
    Ok(exit::PASS)
}
