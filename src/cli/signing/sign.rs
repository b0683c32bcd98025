//! `tensorseal sign`: list the digest of every file of a model, and sign the list.

use super::args::{Facts, SignArgs};
use super::attest;
use super::{keys, places};
use crate::cli::{Failure, Outcome, exit, output, running};
use anyhow::{Context, anyhow};
use std::io::Write;
use std::path::{Path, PathBuf};
use tensorseal::checkpoint::{Checkpoint, NotCovered, display_name};
use tensorseal::judge::signature;
use tensorseal::report::{Report, SignatureUsed};
use tensorseal::signing::bundle::{self, Method};
use tensorseal::signing::keys::PrivateKey;
use tensorseal::signing::oms::Resource;
use tensorseal::signing::{Manifest, Signer, Trust};
use tensorseal::stream::hashing::{FileHashing, HashAlgorithm};

/// How every bundle begins.
const START: &[u8] = b"{\"mediaType\":";

/// Runs the verb.
pub fn run(args: &SignArgs) -> Outcome {
    let target = args.output.clone().unwrap_or_else(|| places::default_bundle(&args.model));
    let beside = places::attestations_of(&target);
    let (key, method) = keys::signer(&args.signer)?;
    let ignored = ignored(args, &target, &beside)?;
    places::check_output(&target, START, "signature")?;
    places::check_output(&beside, START, "file of attestations")?;
    let model = open(args, &target, &beside)?;
    let hashing = FileHashing { algorithm: args.hash, shard: args.shard_size };
    let mut manifest = Manifest {
        allow_symlinks: args.opening.allow_symlinks,
        ignore_paths: ignored,
        ..Manifest::new(subject(&args.model)?, hashing)
    };
    let files = signature::concerned(&model, &manifest);
    check_files(args, &model, &files)?;
    let mut report = Report::new("sign", &args.model.display().to_string());
    let measured = attest::measure(args, &model, &files, hashing)?;
    manifest.resources = resources(&model, &files, hashing, &measured.digests)?;
    let statement = manifest.to_statement();
    let signed = sign(statement.as_bytes(), &key, &method)?;
    let attestations = attest::sign(args, &model, &measured, &manifest, &key, &method)?;
    write(&target, &signed)?;
    if !attestations.is_empty() {
        write(&beside, &attestations.lines)?;
    } else if beside.is_file() {
        let text = "is of an older signature: remove it, or sign with --attest";
        output::note(args.common.quiet, &format!("{} {text}", beside.display()));
    }
    say_who_reads_it(args);
    measured.fill(&mut report, &model);
    let ignores = manifest.ignore_paths.iter().map(|path| NotCovered::new(path, "ignored by the signature"));
    report.coverage.not_covered.extend(ignores.filter(|entry| model.files.iter().any(|file| file.path.starts_with(&entry.path))));
    report.signature = Some(SignatureUsed {
        source: target.display().to_string(),
        files: files.len() as u64,
        attestations: attestations.used,
        ..SignatureUsed::of(&manifest, Some(Signer::of(&key, &method)))
    });
    report.judge(args.common.fail_on);
    output::finish(&report, &args.common, &|out, palette| {
        writeln!(out, "signed    {}", palette.bold(&target.display().to_string()))?;
        if !report.signature.iter().all(|used| used.attestations.is_empty()) {
            writeln!(out, "attested  {}", beside.display())?;
        }
        Ok(())
    })
}
