//! Verifies a model against a seal, a root or attestations: all tensors are measured and, with a signature, all files
//! are hashed in the same pass.

use super::{VerifyRequest, value_changes};
use crate::document::{Report, SealedCounts};
use crate::examine::Request;
use crate::examine::expectations::{self, Expectations, FlipSearch, SealReference};
use crate::judge::{Finding, structure};
use crate::seal::build::FILE_DIGESTS;
use crate::seal::{Seal, document};
use crate::verbs::{Error, reference_seal, signature};
use tensorseal_base::hashing::FileHashing;
use tensorseal_format::{Checkpoint, FileKind, SkipReason, SkippedPath};

/// Measures the model, and compares it with all references.
pub(super) fn verify(
    request: &VerifyRequest<'_>,
    model: Checkpoint,
    report: &mut Report,
) -> Result<Checkpoint, Error> {
    let options = request.options;
    let sealed = request.sealed.as_ref();
    let place = reference_seal::place(request.path, options.seal.as_deref());
    // A seal with another root than the expected one belongs to another model.
    let trusted = sealed.filter(|seal| {
        options.expect_root.is_none_or(|root| document::root_text(&root) == seal.model.root)
    });
    let search =
        FlipSearch { seal_path: Some(&place), limits: options.pinpoint, explain_structure: true };
    let reference = trusted.map(|seal| SealReference {
        seal,
        content_only: options.content_only,
        search: Some(search),
    });
    let expectations = Expectations {
        layout: sealed,
        bytes_reference: sealed.filter(|_| options.expect_root.is_none()),
        seals: reference.as_slice(),
        code: false,
        threads: options.run.threads.clone(),
    };
    let verified = request.signature.as_ref().map(|(verified, _)| verified);
    let mut digests = Vec::new();
    let measure = |model: &Checkpoint| {
        let request = (Request::default(), hashings(request));
        let (run, progress) = (&options.run, &*options.progress);
        let (examined, file_digests) = signature::measure(verified, model, request, run, progress)?;
        digests = file_digests;
        Ok::<_, Error>(examined)
    };
    let checked = expectations::check(model, &expectations, measure, &options.progress)?;
    let (model, found) = (checked.model, checked.examined.seal);
    report.fill(&model, &found.model, &checked.examined.run);
    if options.list_tensors {
        report.tensors = serde_json::to_value(&found.tensors).ok();
    }
    if request.is_root_only() {
        report.coverage.not_covered.extend(not_covered_by_root(&model));
        let others = model.model_files().iter().filter(|file| file.kind == FileKind::Other);
        report.coverage.files_not_verified = others.count() as u64;
    }
    if let Some(expected) = &options.expect_root {
        compare_root(expected, sealed, &found, report);
    }
    let mut findings = checked.findings.structure;
    findings.extend(checked.findings.outdated);
    findings.extend(checked.findings.differences.into_iter().flatten());
    if let Some(sealed) = trusted {
        report.profiles =
            value_changes::describe_changes(&mut findings, sealed, &model, &options.run)?;
        if let Some(used) = &mut report.seal {
            used.compared = Some(SealedCounts::from_seal(sealed));
        }
    }
    structure::raise_severity(&mut findings, &checked.explained);
    report.findings.append(&mut findings);
    if let Some((verified, signature_options)) = &request.signature {
        let compare_options = (*signature_options, options.opening.allow_symlinks);
        let outcome = verified.compare(&model, &digests, compare_options, report)?;
        verified.check_attestations(&outcome, (request.path, &place), &found.model.root, report);
        report.findings.extend(outcome.findings);
    }
    Ok(model)
}

/// Returns the hash functions for whole files that are compared with the seal.
fn hashings(request: &VerifyRequest<'_>) -> Vec<FileHashing> {
    let mut sealed_files = request.sealed.iter().flat_map(|seal| &seal.files);
    match request.options.file_digests && sealed_files.any(|file| file.sha256.is_some()) {
        true => FILE_DIGESTS.to_vec(),
        false => Vec::new(),
    }
}

/// Compares the measured root with the expected one.
fn compare_root(expected: &[u8; 32], sealed: Option<&Seal>, found: &Seal, report: &mut Report) {
    let expected = document::root_text(expected);
    if found.model.root != expected {
        let is_older_root =
            found.root_without_order().is_some_and(|root| document::root_text(&root) == expected);
        let hint = match is_older_root {
            true => {
                "; an older version, which did not record the order of elements, gave the expected root to these bytes: seal the model again and expect the new root"
            }
            false => "",
        };
        let message = format!("the model root is {}, expected {expected}{hint}", found.model.root);
        report.findings.push(Finding::new("integrity/other-model", message));
    } else if let Some(sealed) = sealed.filter(|sealed| sealed.model.root != expected) {
        let message =
            format!("the seal belongs to another model: its root is {}", sealed.model.root);
        report.findings.push(Finding::new("integrity/seal-invalid", message));
    }
}

/// Returns what a model root does not cover: everything that is not a tensor.
fn not_covered_by_root(model: &Checkpoint) -> impl Iterator<Item = SkippedPath> {
    model.model_files().iter().map(|file| {
        let reason = match file.kind {
            FileKind::Other => "not covered by the model root, only by a seal",
            _ => "bytes outside tensors are not covered by the model root, only by a seal",
        };
        let reason = reason.to_owned();
        SkippedPath { path: file.path.clone(), reason, kind: SkipReason::NotInModelRoot }
    })
}
