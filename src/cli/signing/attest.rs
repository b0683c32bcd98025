//! What is signed besides the files: the facts, and the pass over the model that they are measured in.

use super::args::{Facts, SignArgs};
use crate::cli::{Failure, running};
use anyhow::anyhow;
use std::collections::BTreeMap;
use tensorseal::checkpoint::{Checkpoint, ModelFile, display_name};
use tensorseal::engine::{self, RunReport};
use tensorseal::examine::{self, Examined, Request};
use tensorseal::judge::{Finding, integrity, rules};
use tensorseal::report::Report;
use tensorseal::report::signature::AttestationUsed;
use tensorseal::seal::{Seal, document, layout};
use tensorseal::signing::attestation::{Attestation, AuditFacts, Facts as Stated};
use tensorseal::signing::{Manifest, Method, PrivateKey, sign_statement};
use tensorseal::stream::hashing::{FileDigests, FileHashing};
use tensorseal::stream::progress::Progress;
use tensorseal::verbs::trust::read_small;
use tensorseal::verbs::{Inputs, audit, sealed};
use tensorseal::watermark::claim::{self, Claim};

/// What the pass over a model gave.
pub struct Measured {
    /// By file of the model.
    pub digests: Vec<Option<FileDigests>>,
    run: RunReport,
    /// The model as a seal would describe it; `None`: no tensor was measured.
    found: Option<Seal>,
    /// What the audit found.
    audit: Option<Vec<Finding>>,
}

impl Measured {
    /// Fills in what every measuring verb reports.
    pub fn fill(&self, report: &mut Report, model: &Checkpoint) {
        match &self.found {
            Some(found) => report.fill(model, &found.model, &self.run),
            None => report.fill_files(model, &self.run),
        }
    }
}

/// Hashes the `files` that are signed, and in the same pass measures what is attested.
pub fn measure(
    args: &SignArgs,
    model: &Checkpoint,
    files: &[usize],
    hashing: FileHashing,
) -> Result<Measured, Failure> {
    let options = running::run_options(&args.measuring);
    running::watched(&args.measuring, args.common.quiet, |progress| {
        if args.attest.is_empty() {
            let wanted: Vec<ModelFile> = files.iter().map(|at| model.files[*at].clone()).collect();
            let mut run = engine::hash_files(&wanted, &[hashing], &options, progress)
                .map_err(running::failure)?;
            let mut digests = vec![None; model.files.len()];
            for (at, found) in files.iter().zip(std::mem::take(&mut run.file_digests)) {
                digests[*at] = found;
            }
            return Ok(Measured { digests, run, found: None, audit: None });
        }
        let audited = args.attest.contains(&Facts::Audit);
        let request =
            Request { audit: audited, file_hashing: vec![hashing].into(), ..Request::default() };
        let examined = examine::measure(model, &request, &options, progress)
            .map_err(running::examine_failure)?;
        with_facts(args, model, examined, progress)
    })
}

fn with_facts(
    args: &SignArgs,
    model: &Checkpoint,
    examined: Examined,
    progress: &Progress,
) -> Result<Measured, Failure> {
    let Examined { seal, audited, mut run, .. } = examined;
    running::require_checksums(model, &run)?;
    let digests = std::mem::take(&mut run.file_digests);
    let threads = args.measuring.threads;
    let judged = audited.map(|audited| audit::findings(model, &audited, threads, progress));
    Ok(Measured { digests, run, found: Some(seal), audit: judged.transpose()? })
}

/// The signed attestations.
#[derive(Default)]
pub struct Signed {
    /// Bundles, one a line.
    pub lines: Vec<u8>,
    /// For the report.
    pub used: Vec<AttestationUsed>,
}

/// Signs what was asked for, about the subject of the signature.
pub fn sign(
    args: &SignArgs,
    measured: &Measured,
    manifest: &Manifest,
    (key, method): (&PrivateKey, &Method),
    inputs: &mut Inputs,
) -> Result<Signed, Failure> {
    let mut signed = Signed::default();
    let mut asked: Vec<Facts> = args.attest.clone();
    asked.sort_by_key(|facts| facts.kind());
    asked.dedup();
    for facts in asked {
        let Some(found) = &measured.found else { continue };
        let mut stated = Stated {
            model_root: found.model.root.clone(),
            signed_at: running::now()?,
            tool: format!("tensorseal {}", env!("CARGO_PKG_VERSION")),
            document: None,
            audit: None,
        };
        match facts {
            Facts::Seal => stated.document = Some(seal_of(args, found, inputs)?),
            Facts::WatermarkClaim => stated.document = Some(claim_of(args, inputs)?),
            Facts::Audit => stated.audit = measured.audit.as_deref().map(audit_facts),
        }
        let attestation = Attestation { kind: facts.kind(), facts: stated };
        let statement = attestation.statement(&manifest.subject, manifest.root).to_json();
        let bundle = sign_statement(&statement, key, method).map_err(Failure::usage)?;
        signed.lines.extend_from_slice(bundle.trim_ascii());
        signed.lines.push(b'\n');
        signed.used.push(AttestationUsed::from(&attestation));
    }
    Ok(signed)
}

/// The digest of the seal, which must be one of this model.
fn seal_of(args: &SignArgs, found: &Seal, inputs: &mut Inputs) -> Result<String, Failure> {
    let path = sealed::place(&args.model, args.seal.as_deref());
    inputs.note(&path);
    let (seal, digest) = tensorseal::seal::read::read(&path).map_err(|error| {
        Failure::usage(
            anyhow::Error::from(error).context(format!("cannot attest {}", path.display())),
        )
    })?;
    let options = integrity::Options { content_only: false };
    let differences = integrity::compare(&seal, found, &layout::Damaged::default(), options);
    if let Some(first) = differences.findings.first() {
        let place = first.tensor.as_deref().or(first.file.as_deref()).unwrap_or_default();
        return Err(Failure::incomplete(anyhow!(
            "{} is not the seal of the model as it is: {}: {}; seal it again before it is signed",
            path.display(),
            display_name(place),
            first.message
        )));
    }
    Ok(document::root_text(&digest))
}

fn claim_of(args: &SignArgs, inputs: &mut Inputs) -> Result<String, Failure> {
    let Some(path) = &args.claim else {
        return Err(Failure::usage(anyhow!("name the claim to attest with --claim")));
    };
    inputs.note(path);
    Claim::read(path).map_err(Failure::usage)?;
    let bytes = read_small(path, claim::MAX_FILE)?;
    Ok(document::root_text(blake3::hash(&bytes).as_bytes()))
}

fn audit_facts(findings: &[Finding]) -> AuditFacts {
    let mut by_severity: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for finding in findings {
        let rules = by_severity.entry(finding.severity.name().to_owned()).or_default();
        *rules.entry(finding.rule.to_owned()).or_default() += 1;
    }
    AuditFacts { rules: rules::rules().version.to_owned(), findings: by_severity }
}
