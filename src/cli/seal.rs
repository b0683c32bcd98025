//! `tensorseal seal`: measure a model once and write what it is.

use super::args::SealArgs;
use super::{Failure, Outcome, exit, output, running};
use anyhow::{Context, anyhow};
use std::path::Path;
use tensorseal::checkpoint::{Checkpoint, FileKind};
use tensorseal::report::{Report, SealUsed};
use tensorseal::seal::canonical;

pub fn run(args: &SealArgs) -> Outcome {
    let target = args.output.clone().unwrap_or_else(|| running::default_seal(&args.model));
    // Whatever else is there stays part of the model, and is refused below.
    let seal_there = Some(target.as_path()).filter(|path| running::may_hold_seal(path));
    let exclude = running::seals_inside(&args.model, seal_there);
    let model = running::open(&args.model, &args.opening, exclude, None)?;
    check_target(&target, &model)?;
    running::require_sound(&model)?;
    if !model.files.iter().any(|file| file.kind == FileKind::Tensors) {
        let error = anyhow!("{}: no safetensors file: nothing to seal", args.model.display());
        return Err(Failure { code: exit::NOTHING, error });
    }
    let (seal, run) = running::measure(
        &model,
        !args.digest_only,
        args.file_digests,
        &args.measuring,
        &args.common,
    )?;
    output::write_file(&target, &|out| canonical::write(&seal, out))
        .with_context(|| format!("cannot write the seal to {}", target.display()))
        .map_err(Failure::incomplete)?;
    let mut report = Report::new("seal", &args.model.display().to_string());
    running::fill(&mut report, &model, &seal.model, &run);
    report.seal = Some(SealUsed {
        digest: Some(file_digest(&target)?),
        source: target.display().to_string(),
        signed_by: None,
    });
    report.findings.extend(model.problems.iter().map(running::finding));
    report.judge(args.common.fail_on);
    output::finish(&report, &args.common, &|out, palette| {
        writeln!(out, "sealed    {}", palette.bold(&target.display().to_string()))?;
        writeln!(
            out,
            "unsigned  whoever can write the model can write this seal: keep the root elsewhere"
        )
    })
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
    match model.files.iter().find(|file| file.location == full || same_file(&file.location, &full))
    {
        Some(file) => Err(Failure::usage(anyhow!(
            "{} is part of the model ({}): the seal must be another file",
            target.display(),
            file.path
        ))),
        None => Ok(()),
    }
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
