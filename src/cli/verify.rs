//! `tensorseal verify`: compare a model with its seal, its signature, or both.

use super::args::{Common, MeasurementArgs, OpenArgs, PinpointArgs, root};
use super::signing::args::SignatureArgs;
use super::signing::signed;
use super::{CommandResult, output, running};
use crate::pinpoint::search::SearchLimits;
use crate::report::Report;
use crate::report::human::Palette;
use crate::report::units::count;
use crate::severity::Severity;
use crate::verbs::{VerifyOptions, verify};
use clap::Args;
use std::io::{self, Write};
use std::path::PathBuf;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// A file or a directory
    pub model: PathBuf,
    /// The seal to compare with (default: where `seal` writes it)
    #[arg(long, value_name = "SEAL")]
    pub seal: Option<PathBuf>,
    #[command(flatten)]
    pub signature: SignatureArgs,
    /// The model root that is expected, known from elsewhere; alone, no seal is needed
    #[arg(long, value_name = "blake3:HEX", value_parser = root)]
    pub expect_root: Option<[u8; 32]>,
    /// Ignore the container layout: sharding, order, header text
    #[arg(long)]
    pub content_only: bool,
    /// Also compare the SHA-256 of whole files, where the seal has it
    #[arg(long)]
    pub file_digests: bool,
    /// Do not search changed blocks for flipped bits
    #[arg(long)]
    pub no_pinpoint: bool,
    #[command(flatten)]
    pub pinpointing: PinpointArgs,
    #[command(flatten)]
    pub opening: OpenArgs,
    /// List every tensor in the JSON report
    #[arg(long)]
    pub full: bool,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    #[command(flatten)]
    pub common: Common,
}

/// Runs the verb.
pub(super) fn run(args: &VerifyArgs) -> CommandResult {
    let limits = SearchLimits { searches: args.pinpointing.pinpoint_limit };
    let mut options = VerifyOptions {
        seal: args.seal.clone(),
        signature: args.signature.options()?,
        expect_root: args.expect_root,
        content_only: args.content_only,
        file_digests: args.file_digests,
        pinpoint: Some(limits).filter(|_| !args.no_pinpoint),
        opening: args.opening.options(),
        run: running::run_options(&args.measuring),
        list_tensors: args.full,
        fail_on: args.common.fail_on,
        ..VerifyOptions::default()
    };
    let report = running::watched(&args.measuring, args.common.quiet, |progress| {
        options.progress = progress.clone();
        Ok(verify(&args.model, &options)?)
    })?;
    output::finish(&report, &args.common, &|out, palette| summary(out, palette, args, &report))
}

fn summary(
    out: &mut dyn Write,
    palette: Palette,
    args: &VerifyArgs,
    report: &Report,
) -> io::Result<()> {
    // What cannot be trusted says nothing of the model, and nothing was measured.
    if report.engine.is_none() {
        return Ok(());
    }
    signed::summary(out, palette, report)?;
    let Some(seal) = &report.seal else { return Ok(()) };
    writeln!(out, "seal      {}", seal.source)?;
    let words = match (&seal.signed_by, args.expect_root) {
        (Some(signer), _) => format!("signed by {signer}"),
        (None, Some(_)) => {
            "unsigned seal: its tensors are held to the expected root, its other files only to the seal".to_owned()
        }
        (None, None) => {
            "unsigned seal: it proves nothing against someone who can write both; sign it, or pin the root with --expect-root".to_owned()
        }
    };
    writeln!(out, "          {}", palette.dim(&words))?;
    let clean = report.findings.iter().all(|finding| finding.severity <= Severity::Info);
    if let Some(compared) = seal.compared.filter(|_| clean) {
        let (tensors, others) = (compared.tensors, compared.other_files);
        writeln!(
            out,
            "intact    {} and {}",
            count(tensors, "tensor"),
            count(others, "other file")
        )?;
    }
    Ok(())
}
