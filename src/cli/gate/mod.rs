//! `tensorseal gate`: measure a model once, for everything that a policy asks for, and judge it.

pub mod args;
mod evidence;
mod marks;
mod measured;
mod pins;
mod registry;
mod statements;

use super::inputs::Inputs;
use super::signing::args::SignatureArgs;
use super::signing::check::{self, Checked};
use super::signing::{keys, places};
use super::{Failure, Outcome, exit, output, profiles, running, sealed};
use anyhow::{Context, anyhow};
use args::GateArgs;
use jiff::Timestamp;
use marks::Marks;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tensorseal::judge::Verdict;
use tensorseal::policy::gate::{self, Judgement};
use tensorseal::policy::{self, PolicyFile};
use tensorseal::report::human::Palette;
use tensorseal::report::{PolicyUsed, Report, Watermark};
use tensorseal::seal::Seal;
use tensorseal::signing::Trust;

/// Everything that was read before the model is.
struct Asked<'a> {
    args: &'a GateArgs,
    model: &'a Path,
    file: PolicyFile,
    signature: SignatureArgs,
    /// The signature, when there is one by who is trusted.
    checked: Option<Checked>,
    sealed: Option<Seal>,
    marks: Marks,
}

/// Runs the verb.
pub fn run(args: &GateArgs) -> Outcome {
    let (Some(model), Some(path)) = (&args.model, &args.policy) else { return print_policy() };
    let file = PolicyFile::read(path).map_err(Failure::usage)?;
    let key = statements::signer(&args.stating)?;
    let mut report = Report::new("gate", &model.display().to_string());
    let mut inputs = Inputs::default();
    let asked = Asked::read(args, model, file, &mut inputs, &mut report)?;
    let (opened, measured) = measured::measure(&asked, &mut inputs, &mut report)?;
    let now = running::now()?;
    let evidence = evidence::gather(&asked, &opened, &measured, now, &mut inputs, &mut report);
    let judgement = gate::judge(&asked.file.policy, &evidence);
    let nothing = judgement.nothing.clone().filter(|_| !judgement.fails());
    conclude(&asked, now, judgement, &mut report);
    match &measured.audited {
        Some(audited) => report.profiles = profiles::audited(&report, &opened, audited),
        None => profiles::place(&mut report, &opened),
    }
    if !measured.detections.is_empty() {
        report.watermark = Some(Watermark::detected(measured.detections.clone()));
    }
    let statements = statements::make(&asked, &opened, &measured, key.as_ref(), &report)?;
    inputs.settle(&[&opened].into_iter().chain(&measured.original).collect::<Vec<_>>())?;
    statements::write(&statements)?;
    if let Some(why) = nothing {
        // Nothing is violated, and nothing was judged either.
        report.conclude(Verdict::Pass);
        report.withhold(format!("{}: {why}", model.display()), exit::NOTHING);
    }
    output::finish(&report, &args.common, &|out, palette| summary(out, palette, &report))
}

/// The policy to begin with.
fn print_policy() -> Outcome {
    match io::stdout().lock().write_all(policy::DEFAULT.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::incomplete(error)),
        _ => Ok(exit::PASS),
    }
}

/// The verdict is the policy's alone.
fn conclude(asked: &Asked<'_>, now: Timestamp, judgement: Judgement, report: &mut Report) {
    report.fail_on = asked.args.common.fail_on;
    let used = PolicyUsed::of(&asked.file, now, &judgement);
    report.judge_by(used, judgement.findings);
}

impl<'a> Asked<'a> {
    /// Reads what the policy asks for. What is missing or wrong here is a mistake in the policy or in the
    /// arguments, except what comes with the model: that is for the policy to judge.
    fn read(
        args: &'a GateArgs,
        model: &'a Path,
        file: PolicyFile,
        inputs: &mut Inputs,
        report: &mut Report,
    ) -> Result<Self, Failure> {
        if model.symlink_metadata().is_err() {
            let error = anyhow!("{}: no such file or directory", model.display());
            return Err(Failure::incomplete(error));
        }
        let trusted = trusted(&file)?;
        let marks = Marks::read(&file, report)?;
        let bundle = args.signature.clone().unwrap_or_else(|| places::default_bundle(model));
        let signature = signature_args(args, &bundle, &file);
        let named = args.signature.is_some() || args.attestations.is_some();
        let there = named || bundle.symlink_metadata().is_ok();
        let checked = match file.policy.signature.is_asked() && there {
            true => check::read_trusted(&bundle, &signature, &trusted, inputs, report)?,
            false => None,
        };
        let wanted = file.policy.seal.is_asked() || args.seal.is_some();
        let sealed = match wanted {
            true => {
                let named = args.seal.as_deref();
                sealed::read(model, named, named.is_none(), inputs, report)?
            }
            false => None,
        };
        Ok(Self { args, model, file, signature, checked, sealed, marks })
    }
}

/// Whom the policy trusts: each key by itself, and all roots together.
fn trusted(file: &PolicyFile) -> Result<Vec<Trust>, Failure> {
    let policy = &file.policy.signature;
    let named = |error: Failure, key: &str| {
        let context = format!("{}: {key}", file.path.display());
        Failure { code: error.code, error: error.error.context(context) }
    };
    let mut all = Vec::new();
    for (index, path) in policy.keys.iter().enumerate() {
        let trust = keys::trust(Some(&file.resolve(path)), &[] as &[PathBuf]);
        all.push(trust.map_err(|error| named(error, &format!("signature.keys[{index}]")))?);
    }
    if !policy.roots.is_empty() {
        let roots: Vec<PathBuf> = policy.roots.iter().map(|path| file.resolve(path)).collect();
        all.push(keys::trust(None, &roots).map_err(|error| named(error, "signature.roots"))?);
    }
    Ok(all)
}

/// The signature as `verify` would be asked to check it.
fn signature_args(args: &GateArgs, bundle: &Path, file: &PolicyFile) -> SignatureArgs {
    SignatureArgs {
        signature: Some(bundle.to_owned()),
        public_key: None,
        ca: Vec::new(),
        ignore_unsigned_files: file.policy.signature.allow_unsigned_files,
        ignore_path: Vec::new(),
        attestations: args.attestations.clone(),
        require_attestation: Vec::new(),
    }
}

/// Who signed, and which seal was used.
fn summary(out: &mut dyn Write, palette: Palette, report: &Report) -> io::Result<()> {
    check::summary(out, palette, report)?;
    if let Some(seal) = &report.seal {
        writeln!(out, "seal      {}", seal.source)?;
        let signer = seal.signed_by.as_ref();
        let words = signer.map_or("unsigned".to_owned(), |signer| format!("signed by {signer}"));
        writeln!(out, "          {}", palette.dim(&words))?;
    }
    Ok(())
}

/// A path of the policy in an error: which key it is of.
fn of_key<T, E: Into<anyhow::Error>>(
    result: Result<T, E>,
    file: &PolicyFile,
    key: &str,
) -> Result<T, Failure> {
    let place = || format!("{}: {key}", file.path.display());
    result.map_err(Into::into).with_context(place).map_err(Failure::usage)
}
