//! Measures and signs the attestations that accompany a signature.

use super::{SignOptions, SigningError, SigningPlan};
use crate::document::Report;
use crate::document::signature::AttestationUsed;
use crate::examine::{self, Examination, Request};
use crate::judge::{Finding, integrity, rules};
use crate::seal::layout::DamagedFiles;
use crate::seal::{self, Seal, document};
use crate::verbs::seal::require_checksums;
use crate::verbs::trust::read_small;
use crate::verbs::{Error, RunInputs, audit, now, reference_seal};
use crate::watermark::claim::{self, Claim};
use std::collections::BTreeMap;
use std::path::Path;
use tensorseal_base::display::display_name;
use tensorseal_base::hashing::FileDigests;
use tensorseal_engine::{self as engine, RunReport};
use tensorseal_format::{Checkpoint, ModelFile};
use tensorseal_signing::attestation::{
    Attestation, AttestationKind, AttestationPredicate, AttestedAudit,
};
use tensorseal_signing::{Manifest, sign_statement};

/// The results of the pass over a model.
pub(super) struct SigningMeasurements {
    /// The digests of each file of the model, by file index.
    pub digests: Vec<Option<FileDigests>>,
    run: RunReport,
    /// The measured model in the form of a seal; `None` if no tensor was measured.
    found: Option<Seal>,
    /// The findings of the audit, if there was one.
    audit: Option<Vec<Finding>>,
}

impl SigningMeasurements {
    /// Fills the measurements into a report.
    pub(super) fn fill(&self, report: &mut Report, model: &Checkpoint) {
        match &self.found {
            Some(found) => report.fill(model, &found.model, &self.run),
            None => report.fill_files(model, &self.run),
        }
    }
}

/// Hashes the files that are signed, and measures what is attested in the same pass.
pub(super) fn measure(
    plan: &SigningPlan<'_>,
    model: &Checkpoint,
) -> Result<SigningMeasurements, Error> {
    let SigningPlan { options, files, .. } = plan;
    let (run_options, progress) = (&options.run, &*options.progress);
    if options.attest.is_empty() {
        let signed: Vec<ModelFile> = files.iter().map(|at| model.files[*at].clone()).collect();
        let mut run = engine::hash_files(&signed, &[options.hashing], run_options, progress)?;
        let mut digests = vec![None; model.files.len()];
        for (at, found) in files.iter().zip(std::mem::take(&mut run.file_digests)) {
            digests[*at] = found;
        }
        return Ok(SigningMeasurements { digests, run, found: None, audit: None });
    }
    let request = Request {
        audit: options.attest.contains(&AttestationKind::Audit),
        file_hashing: vec![options.hashing].into(),
        ..Request::default()
    };
    let Examination { seal, audited, mut run, .. } =
        examine::measure(model, &request, run_options, progress)?;
    require_checksums(model, &run)?;
    let digests = std::mem::take(&mut run.file_digests);
    let threads = &run_options.threads;
    let judged = audited.map(|audited| audit::findings(model, &audited, threads, progress));
    Ok(SigningMeasurements { digests, run, found: Some(seal), audit: judged.transpose()? })
}

/// The signed attestations.
#[derive(Default)]
pub(super) struct SignedAttestations {
    /// The bundles, one on each line.
    pub lines: Vec<u8>,
    /// The attestations for the report.
    pub used: Vec<AttestationUsed>,
}

/// Signs attestations about the subject of a signature.
pub(super) struct Attester<'a> {
    pub path: &'a Path,
    pub options: &'a SignOptions<'a>,
    pub manifest: &'a Manifest,
    pub inputs: &'a mut RunInputs,
}

impl Attester<'_> {
    /// Signs the requested attestations.
    pub(super) fn sign(
        mut self,
        measured: &SigningMeasurements,
    ) -> Result<SignedAttestations, Error> {
        let mut signed = SignedAttestations::default();
        let Some(found) = &measured.found else { return Ok(signed) };
        let mut kinds = self.options.attest.clone();
        kinds.sort();
        kinds.dedup();
        for kind in kinds {
            let mut facts = AttestationPredicate {
                model_root: found.model.root.clone(),
                signed_at: now()?,
                tool: format!("tensorseal {}", env!("CARGO_PKG_VERSION")),
                document: None,
                audit: None,
            };
            match kind {
                AttestationKind::Seal => facts.document = Some(self.seal_of(found)?),
                AttestationKind::WatermarkClaim => facts.document = Some(self.claim()?),
                AttestationKind::Audit => facts.audit = measured.audit.as_deref().map(audit_facts),
            }
            let attestation = Attestation { kind, predicate: facts };
            let statement = attestation.statement(&self.manifest.subject, self.manifest.root);
            let (key, method) = self.options.signer;
            let bundle =
                sign_statement(&statement.to_json(), key, method).map_err(SigningError::from)?;
            signed.lines.extend_from_slice(bundle.trim_ascii());
            signed.lines.push(b'\n');
            signed.used.push(AttestationUsed::from(&attestation));
        }
        Ok(signed)
    }

    /// Returns the digest of the seal, which must match the model.
    fn seal_of(&mut self, found: &Seal) -> Result<String, Error> {
        let path = reference_seal::place(self.path, self.options.seal.as_deref());
        self.inputs.record(&path);
        let (seal, digest) = seal::read::read(&path)
            .map_err(|source| SigningError::Seal { path: path.clone(), source })?;
        let options = integrity::IntegrityOptions { content_only: false };
        let differences = integrity::compare(&seal, found, &DamagedFiles::default(), options);
        match differences.findings.into_iter().next() {
            None => Ok(document::root_text(&digest)),
            Some(first) => {
                let place = first.tensor.as_deref().or(first.file.as_deref()).unwrap_or_default();
                let place = display_name(place);
                Err(SigningError::OtherSeal { path, place, difference: first.message }.into())
            }
        }
    }

    fn claim(&mut self) -> Result<String, Error> {
        let Some(path) = &self.options.claim else { return Err(SigningError::NoClaim.into()) };
        self.inputs.record(path);
        Claim::read(path)?;
        let bytes = read_small(path, claim::MAX_FILE)?;
        Ok(document::root_text(blake3::hash(&bytes).as_bytes()))
    }
}

fn audit_facts(findings: &[Finding]) -> AttestedAudit {
    let mut by_severity: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for finding in findings {
        let rules = by_severity.entry(finding.severity.name().to_owned()).or_default();
        *rules.entry(finding.rule.to_owned()).or_default() += 1;
    }
    AttestedAudit { rules: rules::rules().version.to_owned(), findings: by_severity }
}
