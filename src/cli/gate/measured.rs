//! The one pass over a model for everything that a policy asks for, and the comparisons with what it gave.

use super::Asked;
use super::marks::Marks;
use crate::cli::args::{Opening, ReportFormat};
use crate::cli::audit::baseline::{self, Baseline};
use crate::cli::inputs::Inputs;
use crate::cli::signing::places;
use crate::cli::{Failure, running, sealed};
use std::collections::BTreeMap;
use tensorseal::audit::Audited;
use tensorseal::checkpoint::{Checkpoint, OpenOptions};
use tensorseal::code::{self, Code};
use tensorseal::engine::RunReport;
use tensorseal::examine::{self, Examined, Request, weights};
use tensorseal::judge::watermark::Detection;
use tensorseal::judge::{Finding, code as judge_code, integrity, outdated, signature, structure};
use tensorseal::policy::Area;
use tensorseal::policy::gate::Looked;
use tensorseal::report::Report;
use tensorseal::seal::Seal;
use tensorseal::seal::layout::{self, Damaged};
use tensorseal::severity::Severity;
use tensorseal::stream::hashing::{FileDigests, FileHashing, HashAlgorithm};
use tensorseal::stream::progress::Progress;

/// What the pass gave.
pub struct Measured {
    /// The model as a seal would describe it.
    pub found: Seal,
    /// By file of the model.
    pub digests: Vec<Option<FileDigests>>,
    /// What of it is code.
    pub code: Code,
    /// The weights, when they were audited.
    pub audited: Option<Audited>,
    /// Number of tensors that were compared with a baseline.
    pub lineage: Looked<u64>,
    /// The baseline, where it is a model.
    pub original: Option<Checkpoint>,
    /// What was found of each mark; none where nothing in the model can carry one.
    pub detections: Vec<Detection>,
    /// The comparison with the signature.
    pub signed: Option<signature::Outcome>,
    run: RunReport,
    /// By file: the worst that its damage explains.
    explained: BTreeMap<String, Severity>,
}

/// Opens and measures the model, and compares it with its seal, its signature and its baseline. Fills in the
/// report, findings included.
pub fn measure(
    asked: &Asked<'_>,
    inputs: &mut Inputs,
    report: &mut Report,
) -> Result<(Checkpoint, Measured), Failure> {
    let mut model = open(asked)?;
    // A root that the policy pins is that of every tensor that is read.
    let sealed = asked.sealed.as_ref();
    let unpinned = sealed.filter(|_| asked.file.policy.seal.expect_root.is_empty());
    let outdated = unpinned.map(|seal| layout::as_bytes(&mut model, seal)).unwrap_or_default();
    let damaged = layout::adopt(&mut model, sealed);
    let baseline = asked.open_baseline(inputs, report)?;
    let mut found = structure::problems(&model, asked.sealed.as_ref());
    found.extend(outdated::not_looked_into(&outdated));
    let quiet = asked.args.common.quiet;
    let mut measured = running::watched(&asked.args.measuring, quiet, |progress| {
        let mut measured = pass(asked, &model, progress)?;
        measured.code = code::examine(&model).map_err(Failure::incomplete)?;
        found.extend(judge_code::findings(&measured.code));
        found.extend(measured.compare_sealed(asked, &damaged));
        found.extend(measured.judge_weights(asked, &model, baseline, progress)?);
        Ok(measured)
    })?;
    running::say_who_measured(&measured.run, quiet);
    running::fill(report, &model, &measured.found.model, &measured.run);
    structure::worsen(&mut found, &measured.explained);
    report.findings.append(&mut found);
    report.findings.extend(Marks::findings(&asked.file, &measured.detections));
    measured.compare_signed(asked, &model, report)?;
    Ok((model, measured))
}

fn open(asked: &Asked<'_>) -> Result<Checkpoint, Failure> {
    let mut seals = running::seals_inside(asked.model, asked.args.seal.as_deref());
    let baseline = baseline::seal_path(asked.args.baseline.as_deref());
    seals.extend(baseline.and_then(|path| running::relative(asked.model, path)));
    let options = OpenOptions {
        allow_symlinks: asked.opening().allow_symlinks,
        include_git_paths: asked.checked.iter().any(|checked| checked.lists_git_paths()),
        exclude: places::of_signature(asked.model, &asked.signature),
        seals,
        list_beside: asked.checked.is_some(),
        expected_files: asked.sealed.as_ref().map(Seal::naming_files),
    };
    Checkpoint::open(asked.model, &options).map_err(Failure::incomplete)
}

impl Asked<'_> {
    fn opening(&self) -> Opening {
        let allow_symlinks = self.file.policy.signature.allow_symlinks;
        Opening { allow_symlinks, no_ignore_git_paths: false }
    }

    /// What the weights are compared with: what was named, else the seal of the model where the policy limits
    /// what may have moved.
    fn open_baseline(
        &self,
        inputs: &mut Inputs,
        report: &mut Report,
    ) -> Result<Option<Baseline>, Failure> {
        let named = self.args.baseline.as_deref();
        if named.is_none() && self.limits_lineage() {
            return Ok(self.sealed.clone().map(|seal| Baseline::Seal(Box::new(seal))));
        }
        // A seal that is a baseline is not the one that the model is compared with.
        let mut aside = Report::new("gate", "");
        let baseline = baseline::open(named, self.model, &self.opening(), inputs, &mut aside)?;
        report.findings.append(&mut aside.findings);
        Ok(baseline)
    }

    fn limits_lineage(&self) -> bool {
        self.file.policy.severity.iter().any(|(area, _)| *area == Area::Lineage)
    }

    /// Whether the weights are audited.
    pub fn audits(&self) -> bool {
        self.file.policy.wants_audit() || self.args.baseline.is_some()
    }

    /// Statements and bills of materials name files by their SHA-256.
    fn needs_sha256(&self) -> bool {
        let mut reports = self.args.common.report.iter();
        let bill = reports.any(|(format, _)| *format == ReportFormat::Cyclonedx);
        bill || !self.args.stating.statement.is_empty()
    }
}

fn pass(asked: &Asked<'_>, model: &Checkpoint, progress: &Progress) -> Result<Measured, Failure> {
    let options = running::run_options(&asked.args.measuring);
    let checked = asked.checked.as_ref();
    // Digests of shards could take more memory than the signature pays for with its own length.
    let overlong = checked.is_some_and(|checked| checked.is_overlong(model));
    let signed = checked.map(|checked| checked.manifest.hashing).filter(|_| !overlong);
    let mut hashings: Vec<FileHashing> = signed.into_iter().collect();
    let whole = FileHashing::whole(HashAlgorithm::Sha256);
    hashings.extend(Some(whole).filter(|whole| asked.needs_sha256() && !hashings.contains(whole)));
    let blake3 = FileHashing::whole(HashAlgorithm::Blake3);
    let wanted = asked.file.policy.wants_digests() && !hashings.contains(&blake3);
    hashings.extend(Some(blake3).filter(|_| wanted));
    // Of no weights there is nothing to audit, and no mark in them.
    let weights = !model.tensors.is_empty();
    let request = Request {
        audit: asked.audits() && weights,
        keys: if weights { &asked.marks.keys } else { &[] },
        file_hashing: hashings.into(),
        ..Request::default()
    };
    let Examined { seal, audited, marks, run } =
        examine::measure(model, &request, &options, progress).map_err(running::examine_failure)?;
    let carried = marks.filter(|marks| !marks.carriers.tensors.is_empty());
    let digests = match checked {
        Some(checked) if overlong => checked.hash(model, &options, progress)?.0,
        _ => run.file_digests.clone(),
    };
    Ok(Measured {
        found: seal,
        digests,
        code: Code::default(),
        audited,
        original: None,
        lineage: Looked::Not("there is no baseline: name one with --baseline".to_owned()),
        detections: carried.map(|marks| asked.marks.judge(&marks)).unwrap_or_default(),
        signed: None,
        run,
        explained: BTreeMap::new(),
    })
}

impl Measured {
    fn compare_sealed(&mut self, asked: &Asked<'_>, damaged: &Damaged) -> Vec<Finding> {
        let Some(sealed) = &asked.sealed else { return Vec::new() };
        let options = integrity::Options { content_only: false };
        let differences = integrity::compare(sealed, &self.found, damaged, options);
        self.explained = differences.explained;
        differences.findings
    }

    /// What the audit says of the weights, and the comparison with the baseline.
    fn judge_weights(
        &mut self,
        asked: &Asked<'_>,
        model: &Checkpoint,
        baseline: Option<Baseline>,
        progress: &Progress,
    ) -> Result<Vec<Finding>, Failure> {
        let Some(audited) = &self.audited else { return Ok(Vec::new()) };
        let options = running::run_options(&asked.args.measuring);
        let mut found =
            weights::judge(model, audited, &options.threads, progress).map_err(running::failure)?;
        if let Some(baseline) = baseline {
            let compared = baseline.compare(model, audited, &options, progress)?;
            found.extend(compared.findings(model, audited, asked.args.common.quiet));
            self.lineage = Looked::At(audited.facts.len() as u64);
            self.original = compared.into_original();
        }
        Ok(found)
    }

    /// Compares with the signature, holds what its signer states to what was measured, and notes whether the
    /// seal is signed.
    fn compare_signed(
        &mut self,
        asked: &Asked<'_>,
        model: &Checkpoint,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let Some(checked) = &asked.checked else { return Ok(()) };
        let how = (&asked.signature, &asked.opening());
        let outcome = checked.compare(model, &self.digests, how, report)?;
        let place = sealed::place(asked.model, asked.args.seal.as_deref());
        checked.vouch(&outcome, (asked.model, &place), &self.found.model.root, report);
        report.findings.extend(outcome.findings.iter().cloned());
        self.signed = Some(outcome);
        Ok(())
    }
}
