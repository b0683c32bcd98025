//! `tensorseal seal`: measure a model once and write what it is.

use super::args::SealArgs;
use super::{Failure, Outcome, exit, output, running};
use anyhow::{Context, anyhow};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::NamedTempFile;
use tensorseal::checkpoint::{Checkpoint, ModelFile};
use tensorseal::judge::structure;
use tensorseal::pinpoint::fine::{self, Fine};
use tensorseal::pinpoint::{self, FineWriteError};
use tensorseal::report::{Report, SealUsed};
use tensorseal::seal::{Seal, build, canonical, sketch};
use tensorseal::stream::plan::Plan;
use tensorseal::stream::progress::Progress;
use tensorseal::verbs::{Inputs, opening, places};

pub fn run(args: &SealArgs) -> Outcome {
    let target = args.output.clone().unwrap_or_else(|| places::default_seal(&args.model));
    // Whatever else is there stays part of the model, and is refused below.
    let seal_there = Some(target.as_path()).filter(|path| places::may_hold_seal(path));
    let seals = places::seals_inside(&args.model, seal_there);
    let model = running::open(&args.model, &args.opening, seals, None)?;
    check_target(&target, &model)?;
    opening::require_sound(&model)?;
    if model.own_files().is_empty() {
        let error = anyhow!("{}: no file: nothing to seal", args.model.display());
        return Err(Failure { code: exit::NOTHING, error });
    }
    let fine_path = fine::path_of(&target);
    if args.fine {
        check_fine(&fine_path, &args.model, &model)?;
    }
    let options = running::run_options(&args.measuring);
    let (seal, run, sidecar) = running::watched(&args.measuring, args.common.quiet, |progress| {
        let (seal, run) = build::measure_plan(&model, &plan(args, &model), &options, progress)
            .map_err(running::failure)?;
        running::require_checksums(&model, &run)?;
        let write = || write_fine(&model, &seal, &fine_path, options.threads, progress);
        let sidecar = args.fine.then(write).transpose()?;
        Ok((seal, run, sidecar))
    })?;
    let mut inputs = Inputs::default();
    if let Some(sidecar) = &sidecar {
        inputs.made(sidecar.path());
    }
    inputs.settle(&[&model])?;
    let mut report = Report::new("seal", &args.model.display().to_string());
    report.fill(&model, &seal.model, &run);
    output::write_file(&target, &|out| canonical::write(&seal, out))
        .with_context(|| format!("cannot write the seal to {}", target.display()))
        .map_err(Failure::incomplete)?;
    if let Some(sidecar) = sidecar {
        sidecar.persist(&fine_path).map_err(|error| fine_failure(&fine_path, error.error))?;
    } else if fine::is_fine(&fine_path) && Fine::open(&fine_path, &seal).is_err() {
        let path = fine_path.display();
        report.notes.push(format!("{path} is of an older seal: remove it, or seal with --fine"));
    }
    report.seal = Some(SealUsed {
        digest: Some(file_digest(&target)?),
        source: target.display().to_string(),
        signed_by: None,
        compared: None,
    });
    report.findings.extend(structure::of_weights(&model));
    report.judge(args.common.fail_on);
    output::finish(&report, &args.common, &|out, palette| {
        writeln!(out, "sealed    {}", palette.bold(&target.display().to_string()))?;
        if args.fine {
            writeln!(out, "fine      {}", fine_path.display())?;
        }
        writeln!(
            out,
            "unsigned  whoever can write the model can write this seal: keep the root elsewhere"
        )
    })
}

/// What is measured.
fn plan(args: &SealArgs, model: &Checkpoint) -> Plan {
    let mut plan = Plan::everything(model, !args.digest_only);
    if args.sketch {
        sketch::add_to(&mut plan, model);
    }
    let hashing = if args.file_digests { &build::FILE_DIGESTS[..] } else { &[] };
    plan.with_file_hashing(model, hashing.to_vec())
}

/// The seal must not take the place of something it seals.
fn check_target(target: &Path, model: &Checkpoint) -> Result<(), Failure> {
    if target.is_dir() {
        return Err(Failure::usage(anyhow!(
            "{} is a directory: name a file for the seal",
            target.display()
        )));
    }
    let Ok(full) = target.canonicalize() else { return Ok(()) };
    if !full.is_file() {
        return Err(Failure::usage(anyhow!("{} is not a regular file", target.display())));
    }
    let is_target = |file: &&ModelFile| {
        file.location.local().is_ok_and(|path| path == full || same_file(path, &full))
    };
    match model.own_files().iter().find(is_target) {
        Some(file) => Err(Failure::usage(anyhow!(
            "{} is part of the model ({}): the seal must be another file",
            target.display(),
            file.path
        ))),
        None => Ok(()),
    }
}

/// The sidecar must not take the place of anything but an older one.
fn check_fine(path: &Path, given: &Path, model: &Checkpoint) -> Result<(), Failure> {
    let inside = places::relative(given, path);
    let part = model.own_files().iter().any(|file| Some(&file.path) == inside.as_ref());
    if part || path.symlink_metadata().is_ok() && !fine::is_fine(path) {
        let path = path.display();
        return Err(Failure::usage(anyhow!(
            "{path} is there and is no fine sidecar: it would be overwritten"
        )));
    }
    Ok(())
}

/// Writes the sidecar beside the seal, under another name until the seal is there, too.
fn write_fine(
    model: &Checkpoint,
    seal: &Seal,
    path: &Path,
    threads: usize,
    progress: &Progress,
) -> Result<NamedTempFile, Failure> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tensorseal-").suffix(".tmp").permissions(Permissions::from_mode(0o666));
    let file = builder
        .tempfile_in(places::directory_of(path))
        .map_err(|error| fine_failure(path, error))?;
    pinpoint::write_fine(model, seal, file.as_file(), threads, progress).map_err(|error| {
        match error {
            FineWriteError::Run(error) => running::failure(error),
            FineWriteError::Io(error) => fine_failure(path, error),
        }
    })?;
    file.as_file().sync_all().map_err(|error| fine_failure(path, error))?;
    Ok(file)
}

fn fine_failure(path: &Path, error: io::Error) -> Failure {
    let path = path.display();
    Failure::incomplete(
        anyhow::Error::from(error).context(format!("cannot write the fine sidecar to {path}")),
    )
}

fn same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (a.metadata(), b.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

fn file_digest(path: &Path) -> Result<String, Failure> {
    let mut hasher = blake3::Hasher::new();
    let file = std::fs::File::open(path).map_err(Failure::incomplete)?;
    hasher.update_reader(file).map_err(Failure::incomplete)?;
    Ok(format!("blake3:{}", hasher.finalize().to_hex()))
}
