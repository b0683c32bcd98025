//! A model that is held to a seal, a root or attestations: every tensor is measured, and with a signature
//! every file is hashed in the same pass.

use super::closer::{look_again, pinpoint};
use super::{Asked, Held};
use crate::cli::{Failure, running, sealed};
use std::collections::BTreeMap;
use tensorseal::checkpoint::{Checkpoint, FileKind, LeftOut, NotCovered};
use tensorseal::engine::RunReport;
use tensorseal::examine::flips::Compared;
use tensorseal::judge::integrity::{self, Options};
use tensorseal::judge::{Finding, Severity, outdated, structure};
use tensorseal::report::Report;
use tensorseal::seal::build::FILE_DIGESTS;
use tensorseal::seal::{self, Seal, document, layout};
use tensorseal::stream::hashing::{FileDigests, FileHashing};
use tensorseal::stream::plan::Plan;
use tensorseal::stream::progress::Progress;

/// What one pass over the model gave.
struct Measured {
    found: Seal,
    run: RunReport,
    /// What was compared with the signature.
    digests: Vec<Option<FileDigests>>,
    /// By file: the worst that its damage explains.
    explained: BTreeMap<String, Severity>,
}

/// Measures the model, and compares it with all that was asked for.
pub fn verify(
    asked: &Asked<'_>,
    model: &mut Checkpoint,
    report: &mut Report,
) -> Result<Held, Failure> {
    let args = asked.args;
    let sealed = asked.sealed.as_ref();
    // A root that comes from elsewhere is that of every tensor that is read.
    let unpinned = sealed.filter(|_| args.expect_root.is_none());
    let outdated = unpinned.map(|seal| layout::as_bytes(model, seal)).unwrap_or_default();
    let damaged = layout::adopt(model, sealed);
    let model = &*model;
    let trusted = sealed.filter(|seal| {
        args.expect_root.is_none_or(|root| document::root_text(&root) == seal.model.root)
    });
    let mut findings = structure::problems(model, sealed);
    findings.extend(outdated::not_looked_into(&outdated));
    let measured = running::watched(&args.measuring, args.common.quiet, |progress| {
        let mut measured = measure(asked, model, progress)?;
        if let Some(sealed) = trusted {
            let found = &measured.found;
            let content_only = Options { content_only: args.content_only };
            let differences = integrity::compare(sealed, found, &damaged, content_only);
            findings.extend(differences.findings);
            let compared = Compared { model, sealed, found, damaged: &damaged.headers };
            pinpoint(&compared, &mut findings, args, progress)?;
            measured.explained = differences.explained;
        }
        Ok(measured)
    })?;
    let Measured { found, run, digests, explained } = measured;
    running::say_who_measured(&run, args.common.quiet);
    running::fill(report, model, &found.model, &run);
    if args.full {
        report.tensors = serde_json::to_value(&found.tensors).ok();
    }
    if sealed.is_none() && asked.checked.is_none() {
        report.coverage.not_covered.extend(beside_the_root(model));
    }
    if let Some(expected) = &args.expect_root {
        expect(expected, sealed, &found, report);
    }
    if let Some(sealed) = trusted {
        report.profiles = look_again(&mut findings, sealed, model, args)?;
    }
    structure::worsen(&mut findings, &explained);
    report.findings.append(&mut findings);
    if let Some(checked) = &asked.checked {
        let outcome = checked.compare(model, &digests, (&args.signature, &args.opening), report)?;
        let place = sealed::place(&args.model, args.seal.as_deref());
        checked.vouch(&outcome, (&args.model, &place), &found.model.root, report);
        report.findings.extend(outcome.findings);
    }
    Ok(Held { seal: trusted.is_some() })
}

fn measure(
    asked: &Asked<'_>,
    model: &Checkpoint,
    progress: &Progress,
) -> Result<Measured, Failure> {
    let Asked { args, sealed, checked } = asked;
    let options = running::run_options(&args.measuring);
    let mut hashings: Vec<FileHashing> = Vec::new();
    if args.file_digests && sealed.iter().flat_map(|s| &s.files).any(|file| file.sha256.is_some()) {
        hashings.extend(FILE_DIGESTS);
    }
    let signed = checked.as_ref().map(|checked| checked.manifest.hashing);
    // Digests of shards could take more memory than the signature pays for with its own length.
    let beside = checked.as_ref().is_some_and(|checked| checked.is_overlong(model));
    hashings.extend(signed.filter(|signed| !beside && !hashings.contains(signed)));
    let plan = Plan::everything(model, false).with_file_hashing(model, hashings);
    let (found, run) =
        seal::build::measure_plan(model, &plan, &options, progress).map_err(running::failure)?;
    let digests = match checked {
        Some(checked) if beside => checked.hash(model, &options, progress)?.0,
        _ => run.file_digests.clone(),
    };
    Ok(Measured { found, run, digests, explained: BTreeMap::new() })
}

/// Compares with the root that was given from elsewhere.
fn expect(expected: &[u8; 32], sealed: Option<&Seal>, found: &Seal, report: &mut Report) {
    let expected = document::root_text(expected);
    if found.model.root != expected {
        let older =
            found.root_without_order().is_some_and(|root| document::root_text(&root) == expected);
        let hint = match older {
            true => {
                "; the expected one was made of these bytes by an older version, which did not record the order of elements: seal the model again and expect the new root"
            }
            false => "",
        };
        let message = format!("the model root is {}, expected {expected}{hint}", found.model.root);
        report.findings.push(Finding::new("integrity/other-model", message));
    } else if let Some(sealed) = sealed.filter(|sealed| sealed.model.root != expected) {
        let message = format!("the seal is of another model: its root is {}", sealed.model.root);
        report.findings.push(Finding::new("integrity/seal-invalid", message));
    }
}

/// What a model root alone does not vouch for: everything that is not a tensor.
fn beside_the_root(model: &Checkpoint) -> impl Iterator<Item = NotCovered> {
    model.own_files().iter().map(|file| {
        let what = match file.kind {
            FileKind::Other => "the file",
            _ => "its bytes outside tensors",
        };
        let reason = format!("{what}: not part of the model root, only a seal covers it");
        NotCovered { path: file.path.clone(), reason, kind: LeftOut::BesideRoot }
    })
}
