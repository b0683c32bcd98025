//! From what was read and measured to the evidence that a policy judges by. What was not looked at says why.

use super::measured::Measured;
use super::{Asked, pins, recorded};
use crate::document::Report;
use crate::policy::gate::{
    self, Attestation, AttestedFinding, Evidence, FileSeen, Looked, SealState, SignatureState,
    Signed, Signer,
};
use crate::seal::document;
use crate::verbs::Inputs;
use jiff::Timestamp;
use std::collections::BTreeMap;
use tensorseal_format::{Checkpoint, LeftOut, NotCovered};
use tensorseal_signing::attestation::{Attestation as Stated, Kind};

/// Gathers the evidence. Takes the findings of the report over.
pub fn gather(
    asked: &Asked<'_>,
    model: &Checkpoint,
    measured: &Measured,
    now: Timestamp,
    inputs: &mut Inputs,
    report: &mut Report,
) -> Evidence {
    let signature = signature(asked, model, measured, report);
    let recorded = recorded::recorded(asked, model, &measured.found);
    let digests = measured.found.files.iter();
    let digests =
        digests.filter_map(|file| Some((file.path.clone(), document::root_text(&file.blake3?))));
    Evidence {
        pins: pins::gather(asked, measured, &recorded, inputs, report),
        digests: Looked::At(digests.collect()),
        registry: recorded.record,
        attestations: attestations(asked, measured, &signature, report),
        signature,
        seal: seal(asked, report),
        root: Looked::At(measured.found.model.root.clone()),
        coverage: Looked::At(gate::Measured {
            bytes_total: report.coverage.bytes_total,
            bytes_checked: report.coverage.bytes_checked,
            left_out: report.coverage.not_covered.clone(),
        }),
        files: Looked::At(FileSeen::all_of(model)),
        dtypes: Looked::At(counted(model.tensors.iter().map(|tensor| tensor.dtype.name()))),
        code: Looked::At(measured.code.clone()),
        audit: match &measured.audited {
            Some(audited) => Looked::At(audited.facts.len() as u64),
            None if asked.audits() => Looked::At(0),
            None => Looked::Not("the policy asks for no audit".to_owned()),
        },
        lineage: measured.lineage.clone(),
        watermarks: (0..asked.marks.keys.len())
            .map(|at| match measured.detections.get(at) {
                Some(detection) => match detection.not_looked_for() {
                    Some(why) => Looked::Not(why),
                    None => Looked::At(detection.clone()),
                },
                None => Looked::Not("no tensor of the model can carry a mark".to_owned()),
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
    asked: &Asked<'_>,
    model: &Checkpoint,
    measured: &Measured,
    report: &Report,
) -> Looked<SignatureState> {
    if !asked.file.policy.signature.is_asked() {
        return Looked::Not("the policy names nobody whose signature could be checked".to_owned());
    }
    let (Some(verified), Some(outcome)) = (&asked.signature, &measured.signed) else {
        return Looked::At(match &report.signature {
            None => SignatureState::Absent,
            Some(_) => SignatureState::Failed,
        });
    };
    // A file in a loader's reach that nobody vouches for is told, and is for the policy to judge.
    if !outcome.is_intact() {
        return Looked::At(SignatureState::Failed);
    }
    let left_out = |kind: LeftOut| {
        let of_kind =
            outcome.not_covered.iter().filter(move |left: &&NotCovered| left.kind == kind);
        of_kind.map(|left| left.path.clone()).collect()
    };
    let followed = model.remarks.iter().filter(|remark| remark.rule == "format/link-followed");
    let manifest = &verified.manifest;
    Looked::At(SignatureState::Verified(Signed {
        by: Signer::from(&verified.signer),
        hash: manifest.hashing.algorithm,
        files: outcome.intact.len() as u64,
        ignored: left_out(LeftOut::Ignored),
        unsigned: left_out(LeftOut::Unsigned),
        links: followed.map(|remark| remark.file.clone()).collect(),
    }))
}

fn seal(asked: &Asked<'_>, report: &Report) -> Looked<SealState> {
    let signer = asked.signature.as_ref().map(|verified| Signer::from(&verified.signer));
    match (&report.seal, &asked.sealed) {
        (None, _) if asked.file.policy.seal.is_asked() => Looked::At(SealState::Absent),
        (None, _) => Looked::Not("the policy asks for no seal, and none was named".to_owned()),
        (Some(_), None) => Looked::At(SealState::Invalid),
        (Some(used), Some(_)) => Looked::At(SealState::Compared {
            digest: used.digest.clone().unwrap_or_default(),
            signed_by: signer.filter(|_| used.signed_by.is_some()),
        }),
    }
}

/// What the signer of the model states besides, as far as it is true of what was measured.
fn attestations(
    asked: &Asked<'_>,
    measured: &Measured,
    signature: &Looked<SignatureState>,
    report: &Report,
) -> Looked<Vec<Attestation>> {
    let (Some(verified), Looked::At(SignatureState::Verified(signed))) =
        (&asked.signature, signature)
    else {
        let why = "attestations are about a signed model, and there is no signature that verifies";
        return Looked::Not(why.to_owned());
    };
    let used = report.seal.as_ref().and_then(|seal| seal.digest.as_ref());
    let is_true = |stated: &&Stated| {
        let document = stated.facts.document.as_ref();
        let claims = &asked.marks.claim_digests;
        stated.facts.model_root == measured.found.model.root
            && match stated.kind {
                Kind::Seal => used.is_none() || used == document,
                Kind::WatermarkClaim => {
                    claims.is_empty() || document.is_some_and(|claim| claims.contains(claim))
                }
                Kind::Audit => true,
            }
    };
    let of = |stated: &Stated| Attestation {
        kind: stated.kind,
        by: signed.by.clone(),
        time: Some(stated.facts.signed_at),
        findings: stated.facts.audit.as_ref().map(AttestedFinding::all_of).unwrap_or_default(),
    };
    Looked::At(verified.attestations.iter().filter(is_true).map(of).collect())
}
