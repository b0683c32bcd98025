//! From what was read and measured to the evidence that a policy judges by. What was not looked at says why.

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
use tensorseal_signing::attestation::{Attestation as Stated, AttestationKind};

/// Gathers the evidence. Takes the findings of the report over.
pub(super) fn gather(
    asked: &GateRequest<'_>,
    model: &Checkpoint,
    measured: &GateMeasurements,
    now: Timestamp,
    inputs: &mut RunInputs,
    report: &mut Report,
) -> Evidence {
    let signature = signature(asked, model, measured, report);
    let recorded = registry::registry_evidence(asked, model, &measured.found);
    let digests = measured.found.files.iter();
    let digests =
        digests.filter_map(|file| Some((file.path.clone(), document::root_text(&file.blake3?))));
    Evidence {
        pins: pins::gather(asked, measured, &recorded, inputs, report),
        digests: Observation::Observed(digests.collect()),
        registry: recorded.record,
        attestations: attestations(asked, measured, &signature, report),
        signature,
        seal: seal(asked, report),
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
            None if asked.audits() => Observation::Observed(0),
            None => Observation::NotObserved("the policy asks for no audit".to_owned()),
        },
        lineage: measured.lineage.clone(),
        watermarks: (0..asked.watermarks.keys.len())
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
    asked: &GateRequest<'_>,
    model: &Checkpoint,
    measured: &GateMeasurements,
    report: &Report,
) -> Observation<SignatureState> {
    if !asked.file.policy.signature.is_active() {
        return Observation::NotObserved(
            "the policy names nobody whose signature could be checked".to_owned(),
        );
    }
    let (Some(verified), Some(outcome)) = (&asked.signature, &measured.signed) else {
        return Observation::Observed(match &report.signature {
            None => SignatureState::Absent,
            Some(_) => SignatureState::Failed,
        });
    };
    // A file in a loader's reach that nobody vouches for is told, and is for the policy to judge.
    if !outcome.is_intact() {
        return Observation::Observed(SignatureState::Failed);
    }
    let left_out = |kind: SkipReason| {
        let of_kind =
            outcome.not_covered.iter().filter(move |left: &&SkippedPath| left.kind == kind);
        of_kind.map(|left| left.path.clone()).collect()
    };
    let followed = model.remarks.iter().filter(|remark| remark.rule == "format/link-followed");
    let manifest = &verified.manifest;
    Observation::Observed(SignatureState::Verified(SignatureEvidence {
        by: SignerEvidence::from(&verified.signer),
        hash: manifest.hashing.algorithm,
        files: outcome.intact.len() as u64,
        ignored: left_out(SkipReason::Ignored),
        unsigned: left_out(SkipReason::Unsigned),
        links: followed.map(|remark| remark.file.clone()).collect(),
    }))
}

fn seal(asked: &GateRequest<'_>, report: &Report) -> Observation<SealState> {
    let signer = asked.signature.as_ref().map(|verified| SignerEvidence::from(&verified.signer));
    match (&report.seal, &asked.sealed) {
        (None, _) if asked.file.policy.seal.is_required() => {
            Observation::Observed(SealState::Absent)
        }
        (None, _) => {
            Observation::NotObserved("the policy asks for no seal, and none was named".to_owned())
        }
        (Some(_), None) => Observation::Observed(SealState::Invalid),
        (Some(used), Some(_)) => Observation::Observed(SealState::Compared {
            digest: used.digest.clone().unwrap_or_default(),
            signed_by: signer.filter(|_| used.signed_by.is_some()),
        }),
    }
}

/// What the signer of the model states besides, as far as it is true of what was measured.
fn attestations(
    asked: &GateRequest<'_>,
    measured: &GateMeasurements,
    signature: &Observation<SignatureState>,
    report: &Report,
) -> Observation<Vec<AttestationEvidence>> {
    let (Some(verified), Observation::Observed(SignatureState::Verified(signed))) =
        (&asked.signature, signature)
    else {
        let why = "attestations are about a signed model, and there is no signature that verifies";
        return Observation::NotObserved(why.to_owned());
    };
    let used = report.seal.as_ref().and_then(|seal| seal.digest.as_ref());
    let is_true = |stated: &&Stated| {
        let document = stated.predicate.document.as_ref();
        let claims = &asked.watermarks.claim_digests;
        stated.predicate.model_root == measured.found.model.root
            && match stated.kind {
                AttestationKind::Seal => used.is_none() || used == document,
                AttestationKind::WatermarkClaim => {
                    claims.is_empty() || document.is_some_and(|claim| claims.contains(claim))
                }
                AttestationKind::Audit => true,
            }
    };
    let of = |stated: &Stated| AttestationEvidence {
        kind: stated.kind,
        by: signed.by.clone(),
        time: Some(stated.predicate.signed_at),
        findings: stated
            .predicate
            .audit
            .as_ref()
            .map(AttestedFinding::from_facts)
            .unwrap_or_default(),
    };
    Observation::Observed(verified.attestations.iter().filter(is_true).map(of).collect())
}
