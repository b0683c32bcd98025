//! `tensorseal verify`: compare a model with its seal, its signature, or both.

use super::args::{Common, General, MeasurementArgs, OpenArgs, PinpointArgs, root};
use super::signing::args::SignatureArgs;
use super::signing::signed;
use super::{CommandResult, heading, output, running};
use clap::Args;
use std::io::{self, Write};
use std::path::PathBuf;
use tensorseal_base::severity::Severity;
use tensorseal_core::pinpoint::search::SearchLimits;
use tensorseal_core::verbs::{VerifyOptions, verify};
use tensorseal_report::Report;
use tensorseal_report::human::Palette;
use tensorseal_report::units::count;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Model file or directory
    pub model: PathBuf,
    /// Seal to compare with [default: MODEL/tensorseal.seal.json, or MODEL.seal.json for a single file]
    #[arg(long, value_name = "SEAL", help_heading = heading::VERIFICATION)]
    pub seal: Option<PathBuf>,
    #[command(flatten)]
    pub signature: SignatureArgs,
    /// Expected model root, from a source that you trust; without --seal no seal is needed
    #[arg(long, value_name = "blake3:HEX", value_parser = root, help_heading = heading::VERIFICATION)]
    pub expect_root: Option<[u8; 32]>,
    /// Ignore the container layout: sharding, order, header text
    #[arg(long, help_heading = heading::VERIFICATION)]
    pub content_only: bool,
    /// Also compare the SHA-256 digests of whole files, where the seal has them
    #[arg(long, help_heading = heading::VERIFICATION)]
    pub file_digests: bool,
    /// Do not search changed blocks for bit flips
    #[arg(long, help_heading = heading::VERIFICATION)]
    pub no_pinpoint: bool,
    #[command(flatten)]
    pub pinpointing: PinpointArgs,
    #[command(flatten)]
    pub opening: OpenArgs,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    /// List every tensor in the JSON report
    #[arg(long, help_heading = heading::OUTPUT)]
    pub full: bool,
    #[command(flatten)]
    pub common: Common,
}

/// Runs the verb.
pub(super) fn run(args: &VerifyArgs, general: &General) -> CommandResult {
    let limits = SearchLimits::new(args.pinpointing.pinpoint_limit);
    let mut options = VerifyOptions::default();
    options.seal = args.seal.clone();
    options.signature = args.signature.options(&args.model)?;
    options.expect_root = args.expect_root;
    options.content_only = args.content_only;
    options.file_digests = args.file_digests;
    options.pinpoint = Some(limits).filter(|_| !args.no_pinpoint);
    options.opening = args.opening.options();
    options.run = running::run_options(&args.measuring);
    options.list_tensors = args.full;
    options.fail_on = args.common.fail_on;
    let report = running::watched(general, |progress| {
        options.progress = progress.clone();
        Ok(verify(&args.model, &options)?)
    })?;
    output::finish(&report, (&args.common, general), &|out, palette| {
        summary(out, palette, args, &report)
    })
}

fn summary(
    out: &mut dyn Write,
    palette: Palette,
    args: &VerifyArgs,
    report: &Report,
) -> io::Result<()> {
    // Without a trusted seal or signature, nothing was measured.
    if report.engine.is_none() {
        return Ok(());
    }
    signed::summary(out, palette, report)?;
    let Some(seal) = &report.seal else { return Ok(()) };
    writeln!(out, "seal      {}", seal.source)?;
    let words = match (&seal.signed_by, args.expect_root) {
        (Some(signer), _) => format!("signed by {signer}"),
        (None, _) if report.signature.as_ref().is_some_and(|used| used.signer.is_none()) => {
            "the signature was not accepted: the seal counts as unsigned".to_owned()
        }
        (None, Some(_)) => "unsigned seal: tensors were compared with the expected root, other files only with the seal".to_owned(),
        (None, None) => "unsigned seal: no proof against someone who can change both model and seal; sign it, or pass --expect-root".to_owned(),
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
