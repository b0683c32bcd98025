//! Gathers the evidence that a policy judges from what was read and measured.

use super::measurements::GateMeasurements;
use super::{GateRequest, pins, registry};
use crate::document::Report;
use crate::policy::gate::{
    self, AttestationEvidence, AttestedFinding, Evidence, FileEvidence, Observation, SealState,
    SignatureEvidence, SignatureState, SignerEvidence,
};
use crate::seal::document;
use crate::verbs::RunInputs;
use jiff::Timestamp;
use std::collections::BTreeMap;
use tensorseal_format::{Checkpoint, SkipReason, SkippedPath};
use tensorseal_signing::attestation::{Attestation, AttestationKind};

/// Gathers the evidence, and moves the findings of the report into it.
pub(super) fn gather(
    request: &GateRequest<'_>,
    model: &Checkpoint,
    measured: &GateMeasurements,
    now: Timestamp,
    inputs: &mut RunInputs,
    report: &mut Report,
) -> Evidence {
    let signature = signature(request, model, measured, report);
    let registry = registry::registry_evidence(request, model, &measured.found);
    let digests = measured.found.files.iter();
    let digests =
        digests.filter_map(|file| Some((file.path.clone(), document::root_text(&file.blake3?))));
    Evidence {
        pins: pins::gather(request, measured, &registry, inputs, report),
        digests: Observation::Observed(digests.collect()),
        registry: registry.record,
        attestations: attestations(request, measured, &signature, report),
        signature,
        seal: seal(request, report),
        root: Observation::Observed(measured.found.model.root.clone()),
        coverage: Observation::Observed(gate::CoverageEvidence {
            bytes_total: report.coverage.bytes_total,
            bytes_checked: report.coverage.bytes_checked,
            left_out: report.coverage.not_covered.clone(),
        }),
        files: Observation::Observed(FileEvidence::from_model(model)),
        dtypes: Observation::Observed(counted(
            model.tensors.iter().map(|tensor| tensor.dtype.name()),
        )),
        code: Observation::Observed(measured.code.clone()),
        audit: match &measured.audited {
            Some(audited) => Observation::Observed(audited.facts.len() as u64),
            None if request.audits() => Observation::Observed(0),
            None => Observation::NotObserved("the policy does not require an audit".to_owned()),
        },
        lineage: measured.lineage.clone(),
        watermarks: (0..request.watermarks.keys.len())
            .map(|at| match measured.detections.get(at) {
                Some(detection) => match detection.not_looked_for() {
                    Some(why) => Observation::NotObserved(why),
                    None => Observation::Observed(detection.clone()),
                },
                None => {
                    Observation::NotObserved("no tensor of the model can carry a mark".to_owned())
                }
            })
            .collect(),
        findings: std::mem::take(&mut report.findings),
        now,
    }
}

fn counted<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

fn signature(
    request: &GateRequest<'_>,
    model: &Checkpoint,
    measured: &GateMeasurements,
    report: &Report,
) -> Observation<SignatureState> {
    if !request.file.policy.signature.is_active() {
        return Observation::NotObserved("the policy names no trusted signers".to_owned());
    }
    let (Some(verified), Some(outcome)) = (&request.signature, &measured.signed) else {
        return Observation::Observed(match &report.signature {
            None => SignatureState::Absent,
            Some(_) => SignatureState::Failed,
        });
    };
    // Ignored and unsigned files are reported, and the policy judges them.
    if !outcome.is_intact() {
        return Observation::Observed(SignatureState::Failed);
    }
    let not_covered = |kind: SkipReason| {
        let paths =
            outcome.not_covered.iter().filter(move |skipped: &&SkippedPath| skipped.kind == kind);
        paths.map(|skipped| skipped.path.clone()).collect()
    };
    let followed = model.remarks.iter().filter(|remark| remark.rule == "format/link-followed");
    let manifest = &verified.manifest;
    Observation::Observed(SignatureState::Verified(SignatureEvidence {
        by: SignerEvidence::from(&verified.signer),
        hash: manifest.hashing.algorithm,
        files: outcome.intact.len() as u64,
        ignored: not_covered(SkipReason::Ignored),
        unsigned: not_covered(SkipReason::Unsigned),
        links: followed.map(|remark| remark.file.clone()).collect(),
    }))
}

fn seal(request: &GateRequest<'_>, report: &Report) -> Observation<SealState> {
    let signer = request.signature.as_ref().map(|verified| SignerEvidence::from(&verified.signer));
    match (&report.seal, &request.sealed) {
        (None, _) if request.file.policy.seal.is_required() => {
            Observation::Observed(SealState::Absent)
        }
        (None, _) => Observation::NotObserved(
            "the policy does not require a seal, and none was given".to_owned(),
        ),
        (Some(_), None) => Observation::Observed(SealState::Invalid),
        (Some(used), Some(_)) => Observation::Observed(SealState::Compared {
            digest: used.digest.clone().unwrap_or_default(),
            signed_by: signer.filter(|_| used.signed_by.is_some()),
        }),
    }
}

/// Returns the attestations of the signer that match the measured model.
fn attestations(
    request: &GateRequest<'_>,
    measured: &GateMeasurements,
    signature: &Observation<SignatureState>,
    report: &Report,
) -> Observation<Vec<AttestationEvidence>> {
    let (Some(verified), Observation::Observed(SignatureState::Verified(signed))) =
        (&request.signature, signature)
    else {
        let why = "attestations need a verified signature of the model, and there is none";
        return Observation::NotObserved(why.to_owned());
    };
    let used = report.seal.as_ref().and_then(|seal| seal.digest.as_ref());
    let matches = |attestation: &&Attestation| {
        let document = attestation.predicate.document.as_ref();
        let claims = &request.watermarks.claim_digests;
        attestation.predicate.model_root == measured.found.model.root
            && match attestation.kind {
                AttestationKind::Seal => used.is_none() || used == document,
                AttestationKind::WatermarkClaim => {
                    claims.is_empty() || document.is_some_and(|claim| claims.contains(claim))
                }
                AttestationKind::Audit => true,
            }
    };
    let evidence = |attestation: &Attestation| AttestationEvidence {
        kind: attestation.kind,
        by: signed.by.clone(),
        time: Some(attestation.predicate.signed_at),
        findings: attestation
            .predicate
            .audit
            .as_ref()
            .map(AttestedFinding::from_facts)
            .unwrap_or_default(),
    };
    Observation::Observed(verified.attestations.iter().filter(matches).map(evidence).collect())
}
