//! `tensorseal verify`: compare a model with its seal, its signature, or both.

mod closer;
mod files;
mod tensors;

use super::args::VerifyArgs;
use super::inputs::Inputs;
use super::signing::check::{self, Checked};
use super::signing::places;
use super::{Failure, Outcome, output, profiles, running, sealed};
use std::io::{self, Write};
use tensorseal::checkpoint::{Checkpoint, OpenOptions};
use tensorseal::report::Report;
use tensorseal::report::human::Palette;
use tensorseal::report::units::count;
use tensorseal::seal::Seal;
use tensorseal::severity::Severity;

/// What a model is held to.
struct Asked<'a> {
    args: &'a VerifyArgs,
    sealed: Option<Seal>,
    checked: Option<Checked>,
}

/// What it was in fact held to.
#[derive(Default)]
struct Held {
    seal: bool,
}

/// Runs the verb.
pub fn run(args: &VerifyArgs) -> Outcome {
    let mut report = Report::new("verify", &args.model.display().to_string());
    let mut inputs = Inputs::default();
    let checked = check::read(&args.signature, &mut inputs, &mut report)?;
    // What was named must be there; what merely lies beside the model need not.
    let others = args.expect_root.is_some() || args.signature.signature.is_some();
    let optional = args.seal.is_none() && others;
    let named = args.seal.as_deref();
    let sealed = sealed::read(&args.model, named, optional, &mut inputs, &mut report)?;
    if sealed.is_none() && checked.is_none() && args.expect_root.is_none() {
        // A seal or a signature that cannot be trusted says nothing of the model.
        inputs.settle(&[])?;
        report.judge(args.common.fail_on);
        return output::finish(&report, &args.common, &|_, _| Ok(()));
    }
    let asked = Asked { args, sealed, checked };
    let mut model = asked.open()?;
    let held = match &asked.checked {
        Some(checked) if !asked.needs_tensors() => {
            files::verify(&asked, checked, &model, &mut report)?;
            Held::default()
        }
        _ => tensors::verify(&asked, &mut model, &mut report)?,
    };
    report.judge(args.common.fail_on);
    profiles::place(&mut report, &model);
    inputs.settle(&[&model])?;
    output::finish(&report, &args.common, &|out, palette| {
        summary(out, palette, &asked, &held, &report)
    })
}

impl Asked<'_> {
    /// Whether something is compared with what was measured of tensors.
    fn needs_tensors(&self) -> bool {
        let attested = self.checked.iter().any(|checked| !checked.attestations.is_empty());
        self.sealed.is_some() || self.args.expect_root.is_some() || attested
    }

    fn open(&self) -> Result<Checkpoint, Failure> {
        let args = self.args;
        let git = self.checked.iter().any(|checked| checked.lists_git_paths());
        let options = OpenOptions {
            allow_symlinks: args.opening.allow_symlinks,
            include_git_paths: args.opening.no_ignore_git_paths || git,
            exclude: places::of_signature(&args.model, &args.signature),
            seals: running::seals_inside(&args.model, args.seal.as_deref()),
            list_beside: self.checked.is_some(),
            expected_files: self.sealed.as_ref().map(Seal::naming_files),
        };
        Checkpoint::open(&args.model, &options).map_err(Failure::incomplete)
    }
}

fn summary(
    out: &mut dyn Write,
    palette: Palette,
    asked: &Asked<'_>,
    held: &Held,
    report: &Report,
) -> io::Result<()> {
    check::summary(out, palette, report)?;
    if let Some(seal) = &report.seal {
        writeln!(out, "seal      {}", seal.source)?;
        let words = match (&seal.signed_by, asked.args.expect_root) {
            (Some(signer), _) => format!("signed by {signer}"),
            (None, Some(_)) => {
                "unsigned seal: its tensors are held to the expected root, its other files only to the seal".to_owned()
            }
            (None, None) => {
                "unsigned seal: it proves nothing against someone who can write both; sign it, or pin the root with --expect-root".to_owned()
            }
        };
        writeln!(out, "          {}", palette.dim(&words))?;
    }
    let clean = report.findings.iter().all(|finding| finding.severity <= Severity::Info);
    if let Some(seal) = asked.sealed.as_ref().filter(|_| held.seal && clean) {
        let others = seal.files.iter().filter(|file| file.outside.is_none()).count() as u64;
        writeln!(
            out,
            "intact    {} and {}",
            count(seal.model.tensors, "tensor"),
            count(others, "other file")
        )?;
    }
    Ok(())
}
