//! Measures a model in one pass for everything that a policy requires, and compares the results.

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
use tensorseal_format::Checkpoint;

/// The results of measuring and comparing a model.
pub(super) struct GateMeasurements {
    /// The measured model in the form of a seal.
    pub found: Seal,
    /// The digests of each file of the model, by file index.
    pub digests: Vec<Option<FileDigests>>,
    /// The code in the model.
    pub code: CodeReport,
    /// The measurements of the audit, if there was one.
    pub audited: Option<AuditMeasurements>,
    /// The number of tensors that were compared with a baseline.
    pub lineage: Observation<u64>,
    /// The baseline, if it is a model.
    pub original: Option<Checkpoint>,
    /// The detection of each mark; empty if no tensor of the model can carry one.
    pub detections: Vec<Detection>,
    /// The comparison with the signature, if there is one.
    pub signed: Option<judge_signature::SignatureOutcome>,
}

/// Opens and measures the model, and compares it with its seal, its signature and its baseline. Fills in the report
/// and its findings. There is no search for bit flips, because a policy only needs to know that bytes changed.
pub(super) fn measure(
    request: &GateRequest<'_>,
    inputs: &mut RunInputs,
    report: &mut Report,
) -> Result<(Checkpoint, GateMeasurements), Error> {
    let model = open(request)?;
    let baseline = request.open_baseline(inputs, report)?;
    let options = request.options;
    let sealed = request.sealed.as_ref();
    let reference = sealed.map(|seal| SealReference { seal, content_only: false, search: None });
    let expectations = Expectations {
        layout: sealed,
        bytes_reference: sealed.filter(|_| request.file.policy.seal.expect_root.is_empty()),
        seals: reference.as_slice(),
        code: true,
        threads: options.run.threads.clone(),
    };
    let mut digests = Vec::new();
    let measure = |model: &Checkpoint| {
        let (run, progress) = (&options.run, &*options.progress);
        let verified = request.signature.as_ref();
        let (examined, file_digests) = signature::measure(
            verified,
            model,
            examination_request(request, model),
            run,
            progress,
        )?;
        digests = file_digests;
        Ok::<_, Error>(examined)
    };
    let checked = expectations::check(model, &expectations, measure, &options.progress)?;
    let (model, mut checked_findings) = (checked.model, checked.findings);
    let Examination { seal, audited, correlations, run } = checked.examined;
    let correlations = correlations.filter(|marks| !marks.carriers.has_no_candidates());
    let mut measured = GateMeasurements {
        found: seal,
        digests,
        code: checked.code,
        audited,
        original: None,
        lineage: Observation::NotObserved(
            "there is no baseline: give one with --baseline".to_owned(),
        ),
        detections: correlations.map(|marks| request.watermarks.judge(&marks)).unwrap_or_default(),
        signed: None,
    };
    let lineage = measured.compare_weights(request, &model, baseline, report)?;
    report.fill(&model, &measured.found.model, &run);
    let mut findings = checked_findings.structure;
    findings.append(&mut checked_findings.outdated);
    findings.append(&mut checked_findings.code);
    findings.extend(checked_findings.differences.into_iter().flatten());
    findings.append(&mut checked_findings.weights);
    findings.extend(lineage);
    structure::raise_severity(&mut findings, &checked.explained);
    report.findings.append(&mut findings);
    report.findings.extend(PolicyWatermarks::findings(request.file, &measured.detections));
    measured.compare_signed(request, &model, report)?;
    Ok((model, measured))
}

fn open(request: &GateRequest<'_>) -> Result<Checkpoint, Error> {
    let mut seals = locations::seals_inside(request.path, request.options.seal.as_deref());
    let baseline = baseline::seal_path(request.options.baseline.as_deref());
    seals.extend(baseline.and_then(|path| locations::relative(request.path, path)));
    let mut options = request.opening().options();
    options.include_git_paths = request.signature.iter().any(|verified| verified.lists_git_paths());
    options.exclude = request.signature_options.paths_in_model(request.path);
    options.seals = seals;
    options.list_signed_only = request.signature.is_some();
    options.expected_files = request.sealed.as_ref().map(Seal::naming_files);
    Ok(Checkpoint::open(request.path, &options)?)
}

impl GateRequest<'_> {
    /// Opens the baseline: the given one, else the seal of the model if the policy has a limit for lineage.
    fn open_baseline(
        &self,
        inputs: &mut RunInputs,
        report: &mut Report,
    ) -> Result<Option<Baseline>, Error> {
        let named = self.options.baseline.as_deref();
        if named.is_none() && self.limits_lineage() {
            return Ok(self.sealed.clone().map(|seal| Baseline::Seal(Box::new(seal))));
        }
        // A seal as a baseline must not appear as the seal of the report.
        let mut scratch = Report::new("gate", "");
        let baseline = baseline::open(named, self.path, self.opening(), inputs, &mut scratch)?;
        report.findings.append(&mut scratch.findings);
        Ok(baseline)
    }

    fn limits_lineage(&self) -> bool {
        self.file.policy.severity.iter().any(|(area, _)| *area == Area::Lineage)
    }

    /// Returns whether the weights are audited.
    pub(super) fn audits(&self) -> bool {
        self.file.policy.wants_audit() || self.options.baseline.is_some()
    }
}

/// Returns what is measured besides what the signature needs.
fn examination_request<'a>(
    request: &'a GateRequest<'_>,
    model: &Checkpoint,
) -> (Request<'a>, Vec<FileHashing>) {
    // Statements and bills of materials identify files by SHA-256.
    let sha256 = request.options.sha256 || request.options.for_statement;
    let blake3 = request.file.policy.wants_digests();
    let hashings = [(HashAlgorithm::Sha256, sha256), (HashAlgorithm::Blake3, blake3)];
    let needed = hashings.into_iter().filter(|(_, needed)| *needed);
    // Without weights there is nothing to audit. Marks can also be in weights that cannot be read.
    let weights = !model.tensors.is_empty();
    let may_be_marked = weights || model.unread_tensors().next().is_some();
    let examination = Request {
        audit: request.audits() && weights,
        keys: if may_be_marked { &request.watermarks.keys } else { &[] },
        ..Request::default()
    };
    (examination, needed.map(|(algorithm, _)| FileHashing::whole(algorithm)).collect())
}

impl GateMeasurements {
    /// Compares the audited weights with the baseline.
    fn compare_weights(
        &mut self,
        request: &GateRequest<'_>,
        model: &Checkpoint,
        baseline: Option<Baseline>,
        report: &mut Report,
    ) -> Result<Vec<Finding>, Error> {
        let (Some(audited), Some(baseline)) = (&self.audited, baseline) else {
            return Ok(Vec::new());
        };
        let (run, progress) = (&request.options.run, &*request.options.progress);
        let compared = baseline.compare(model, audited, run, progress)?;
        report.notes.extend(compared.note());
        let findings = compared.findings(model, audited);
        self.lineage = match compared.not_compared(model) {
            Some(why) => Observation::NotObserved(why),
            None => Observation::Observed(audited.facts.len() as u64),
        };
        self.original = compared.into_original();
        Ok(findings)
    }

    /// Compares the model with its signature and attestations, and notes whether the seal is signed.
    fn compare_signed(
        &mut self,
        request: &GateRequest<'_>,
        model: &Checkpoint,
        report: &mut Report,
    ) -> Result<(), Error> {
        let Some(verified) = &request.signature else { return Ok(()) };
        let options = (&request.signature_options, request.opening().allow_symlinks);
        let outcome = verified.compare(model, &self.digests, options, report)?;
        let place = reference_seal::place(request.path, request.options.seal.as_deref());
        verified.check_attestations(
            &outcome,
            (request.path, &place),
            &self.found.model.root,
            report,
        );
        report.findings.extend(outcome.findings.iter().cloned());
        self.signed = Some(outcome);
        Ok(())
    }
}
