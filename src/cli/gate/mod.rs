//! `tensorseal gate`: measure a model once, for everything that a policy asks for, and judge it.

pub(super) mod args;
mod statements;

use super::args::{General, ReportFormat};
use super::signing::signed;
use super::{CommandResult, Failure, exit, output, running};
use args::GateArgs;
use std::io::{self, Write};
use tensorseal_core::policy::{self, PolicyFile};
use tensorseal_core::verbs::{GateOptions, GateResult, gate};
use tensorseal_report::Report;
use tensorseal_report::human::Palette;

/// Runs the verb.
pub(super) fn run(args: &GateArgs, general: &General) -> CommandResult {
    let (Some(model), Some(path)) = (&args.model, &args.policy) else {
        return print_policy(general);
    };
    let policy = PolicyFile::read(path).map_err(Failure::usage)?;
    let key = statements::signer(&args.stating)?;
    let registries = registries(args);
    let mut options = GateOptions::default();
    options.signature = args.signature.clone();
    options.attestations = args.attestations.clone();
    options.seal = args.seal.clone();
    options.baseline = args.baseline.clone();
    options.registries = &registries;
    options.sha256 =
        args.common.report.iter().any(|(format, _)| *format == ReportFormat::Cyclonedx);
    options.for_statement = !args.stating.statement.is_empty();
    options.run = running::run_options(&args.measuring);
    options.fail_on = args.common.fail_on;
    let GateResult { report, subject } = running::watched(general, |progress| {
        options.progress = progress.clone();
        Ok(gate(model, &policy, &options)?)
    })?;
    if let Some(subject) = subject {
        statements::write(&statements::make(&args.stating, subject, key.as_ref(), &report)?)?;
    }
    output::finish(&report, (&args.common, general), &|out, palette| summary(out, palette, &report))
}

/// The state database of registry scans.
#[cfg(feature = "registry")]
fn registries(args: &GateArgs) -> tensorseal_registry::state::StateFile {
    let place = super::registry::place::of(args.state.as_deref());
    tensorseal_registry::state::StateFile {
        path: place.map_err(|failure| failure.error.to_string()),
    }
}

/// This build has no state database.
#[cfg(not(feature = "registry"))]
fn registries(_: &GateArgs) -> tensorseal_core::verbs::gate::NoRegistryLookup {
    tensorseal_core::verbs::gate::NoRegistryLookup
}

/// Prints the policy to start from.
fn print_policy(general: &General) -> CommandResult {
    match io::stdout().lock().write_all(policy::DEFAULT.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::incomplete(error));
        }
        _ => {}
    }
    output::note(
        general.quiet,
        "next: save this as policy.toml, edit it, and run `tensorseal gate MODEL --policy policy.toml`",
    );
    Ok(exit::PASS)
}

/// Prints the signer and the seal.
fn summary(out: &mut dyn Write, palette: Palette, report: &Report) -> io::Result<()> {
    signed::summary(out, palette, report)?;
    if let Some(seal) = &report.seal {
        writeln!(out, "seal      {}", seal.source)?;
        let signer = seal.signed_by.as_ref();
        let words = signer.map_or("unsigned".to_owned(), |signer| format!("signed by {signer}"));
        writeln!(out, "          {}", palette.dim(&words))?;
    }
    Ok(())
}
