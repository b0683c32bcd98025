//! The one pass over a model for everything that a policy asks for, and the comparisons with what it gave.

use super::GateRequest;
use super::watermarks::PolicyWatermarks;
use crate::audit::AuditMeasurements;
use crate::document::Report;
use crate::examine::expectations::{self, Expectations, SealReference};
use crate::examine::{Examination, Request};
use crate::judge::watermark::Detection;
use crate::judge::{Finding, signature as judge_signature, structure};
use crate::policy::Area;
use crate::policy::gate::Observation;
use crate::seal::Seal;
use crate::verbs::baseline::{self, Baseline};
use crate::verbs::{Error, RunInputs, locations, reference_seal, signature};
use tensorseal_base::hashing::{FileDigests, FileHashing, HashAlgorithm};
use tensorseal_code::CodeReport;
use tensorseal_format::{Checkpoint, OpenOptions};

/// What the pass gave.
pub(super) struct GateMeasurements {
    /// The model as a seal would describe it.
    pub found: Seal,
    /// By file of the model.
    pub digests: Vec<Option<FileDigests>>,
    /// What of it is code.
    pub code: CodeReport,
    /// The weights, when they were audited.
    pub audited: Option<AuditMeasurements>,
    /// Number of tensors that were compared with a baseline.
    pub lineage: Observation<u64>,
    /// The baseline, where it is a model.
    pub original: Option<Checkpoint>,
    /// What was found of each mark; none where nothing in the model can carry one.
    pub detections: Vec<Detection>,
    /// The comparison with the signature.
    pub signed: Option<judge_signature::SignatureOutcome>,
}

/// Opens and measures the model, and compares it with its seal, its signature and its baseline. Fills in the
/// report, findings included. Flipped bits are not searched: that there are any is all that a policy asks.
pub(super) fn measure(
    asked: &GateRequest<'_>,
    inputs: &mut RunInputs,
    report: &mut Report,
) -> Result<(Checkpoint, GateMeasurements), Error> {
    let model = open(asked)?;
    let baseline = asked.open_baseline(inputs, report)?;
    let options = asked.options;
    let sealed = asked.sealed.as_ref();
    let held_to = sealed.map(|seal| SealReference { seal, content_only: false, search: None });
    let holding = Expectations {
        layout: sealed,
        bytes_reference: sealed.filter(|_| asked.file.policy.seal.expect_root.is_empty()),
        seals: held_to.as_slice(),
        code: true,
        threads: options.run.threads.clone(),
    };
    let mut digests = Vec::new();
    let measure = |model: &Checkpoint| {
        let (run, progress) = (&options.run, &*options.progress);
        let verified = asked.signature.as_ref();
        let (examined, of_files) =
            signature::measure(verified, model, request(asked, model), run, progress)?;
        digests = of_files;
        Ok::<_, Error>(examined)
    };
    let held = expectations::check(model, &holding, measure, &options.progress)?;
    let (model, mut said) = (held.model, held.findings);
    let Examination { seal, audited, correlations: marks, run } = held.examined;
    let carried = marks.filter(|marks| !marks.carriers.has_no_candidates());
    let mut measured = GateMeasurements {
        found: seal,
        digests,
        code: held.code,
        audited,
        original: None,
        lineage: Observation::NotObserved(
            "there is no baseline: name one with --baseline".to_owned(),
        ),
        detections: carried.map(|marks| asked.watermarks.judge(&marks)).unwrap_or_default(),
        signed: None,
    };
    let lineage = measured.compare_weights(asked, &model, baseline, report)?;
    report.fill(&model, &measured.found.model, &run);
    let mut found = said.structure;
    found.append(&mut said.outdated);
    found.append(&mut said.code);
    found.extend(said.differences.into_iter().flatten());
    found.append(&mut said.weights);
    found.extend(lineage);
    structure::raise_severity(&mut found, &held.explained);
    report.findings.append(&mut found);
    report.findings.extend(PolicyWatermarks::findings(asked.file, &measured.detections));
    measured.compare_signed(asked, &model, report)?;
    Ok((model, measured))
}

fn open(asked: &GateRequest<'_>) -> Result<Checkpoint, Error> {
    let mut seals = locations::seals_inside(asked.path, asked.options.seal.as_deref());
    let baseline = baseline::seal_path(asked.options.baseline.as_deref());
    seals.extend(baseline.and_then(|path| locations::relative(asked.path, path)));
    let options = OpenOptions {
        include_git_paths: asked.signature.iter().any(|verified| verified.lists_git_paths()),
        exclude: asked.signature_options.paths_in_model(asked.path),
        seals,
        list_signed_only: asked.signature.is_some(),
        expected_files: asked.sealed.as_ref().map(Seal::naming_files),
        ..asked.opening().options()
    };
    Ok(Checkpoint::open(asked.path, &options)?)
}

impl GateRequest<'_> {
    /// What the weights are compared with: what was named, else the seal of the model where the policy limits
    /// what may have moved.
    fn open_baseline(
        &self,
        inputs: &mut RunInputs,
        report: &mut Report,
    ) -> Result<Option<Baseline>, Error> {
        let named = self.options.baseline.as_deref();
        if named.is_none() && self.limits_lineage() {
            return Ok(self.sealed.clone().map(|seal| Baseline::Seal(Box::new(seal))));
        }
        // A seal that is a baseline is not the one that the model is compared with.
        let mut aside = Report::new("gate", "");
        let baseline = baseline::open(named, self.path, self.opening(), inputs, &mut aside)?;
        report.findings.append(&mut aside.findings);
        Ok(baseline)
    }

    fn limits_lineage(&self) -> bool {
        self.file.policy.severity.iter().any(|(area, _)| *area == Area::Lineage)
    }

    /// Whether the weights are audited.
    pub(super) fn audits(&self) -> bool {
        self.file.policy.wants_audit() || self.options.baseline.is_some()
    }
}

/// What is measured besides what the signature needs.
fn request<'a>(asked: &'a GateRequest<'_>, model: &Checkpoint) -> (Request<'a>, Vec<FileHashing>) {
    // Statements and bills of materials name files by their SHA-256.
    let sha256 = asked.options.sha256 || asked.options.for_statement;
    let blake3 = asked.file.policy.wants_digests();
    let hashings = [(HashAlgorithm::Sha256, sha256), (HashAlgorithm::Blake3, blake3)];
    let wanted = hashings.into_iter().filter(|(_, wanted)| *wanted);
    // Of no weights there is nothing to audit, and no mark in them: that none were read is another thing.
    let weights = !model.tensors.is_empty();
    let may_be_marked = weights || model.unread_tensors().next().is_some();
    let request = Request {
        audit: asked.audits() && weights,
        keys: if may_be_marked { &asked.watermarks.keys } else { &[] },
        ..Request::default()
    };
    (request, wanted.map(|(algorithm, _)| FileHashing::whole(algorithm)).collect())
}

impl GateMeasurements {
    /// The comparison of audited weights with the baseline.
    fn compare_weights(
        &mut self,
        asked: &GateRequest<'_>,
        model: &Checkpoint,
        baseline: Option<Baseline>,
        report: &mut Report,
    ) -> Result<Vec<Finding>, Error> {
        let (Some(audited), Some(baseline)) = (&self.audited, baseline) else {
            return Ok(Vec::new());
        };
        let (run, progress) = (&asked.options.run, &*asked.options.progress);
        let compared = baseline.compare(model, audited, run, progress)?;
        report.notes.extend(compared.note());
        let found = compared.findings(model, audited);
        self.lineage = match compared.not_compared(model) {
            Some(why) => Observation::NotObserved(why),
            None => Observation::Observed(audited.facts.len() as u64),
        };
        self.original = compared.into_original();
        Ok(found)
    }

    /// Compares with the signature, holds what its signer states to what was measured, and notes whether the
    /// seal is signed.
    fn compare_signed(
        &mut self,
        asked: &GateRequest<'_>,
        model: &Checkpoint,
        report: &mut Report,
    ) -> Result<(), Error> {
        let Some(verified) = &asked.signature else { return Ok(()) };
        let how = (&asked.signature_options, asked.opening().allow_symlinks);
        let outcome = verified.compare(model, &self.digests, how, report)?;
        let place = reference_seal::place(asked.path, asked.options.seal.as_deref());
        verified.check_attestations(&outcome, (asked.path, &place), &self.found.model.root, report);
        report.findings.extend(outcome.findings.iter().cloned());
        self.signed = Some(outcome);
        Ok(())
    }
}
