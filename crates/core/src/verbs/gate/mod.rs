//! Judging a model by a policy: measured once, for everything that the policy asks for.

mod evidence;
mod measurements;
mod pins;
mod registry;
mod subject;
mod watermarks;

use super::signature::{self, SignatureOptions, VerifiedSignature};
use super::{Error, ModelScope, RunInputs, locations, now, open, profiles, reference_seal, trust};
use crate::document::statement::StatementInput;
use crate::document::{PolicyUsed, Report, WatermarkReport};
use crate::judge::Verdict;
use crate::policy::PolicyFile;
use crate::policy::gate;
use crate::seal::Seal;
pub use registry::{NoRegistryLookup, RegisteredModel, RegistryLookup};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorseal_base::severity::Severity;
use tensorseal_engine::RunOptions;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_signing::TrustAnchors;
use watermarks::PolicyWatermarks;
pub use watermarks::refuse_duplicate_keys;

/// The exit code of a command that found nothing of what was asked for.
const NOTHING: u8 = 4;

/// What is judged besides the policy, and how.
#[derive(Clone)]
pub struct GateOptions<'a> {
    /// The signature (default: where `sign` writes it).
    pub signature: Option<PathBuf>,
    /// The attestations signed with the model (default: those beside the signature).
    pub attestations: Option<PathBuf>,
    /// The seal (default: where `seal` writes it).
    pub seal: Option<PathBuf>,
    /// A seal, or another model, that the weights are compared with (default: the seal of the model).
    pub baseline: Option<PathBuf>,
    /// What scans of registries know, where the policy asks for it.
    pub registries: &'a dyn RegistryLookup,
    /// Whether files are digested with SHA-256: bills of materials name them so.
    pub sha256: bool,
    /// Whether the verdict is to be stated: the [subject](Gated::subject) of the statements is then made.
    pub for_statement: bool,
    /// How the model is measured.
    pub run: RunOptions,
    /// What watches the run, and can stop it.
    pub progress: Arc<Progress>,
    /// Told by reports; the policy alone decides what fails.
    pub fail_on: Severity,
}

impl Default for GateOptions<'_> {
    /// What comes with the model; no registry is asked.
    fn default() -> Self {
        Self {
            signature: None,
            attestations: None,
            seal: None,
            baseline: None,
            registries: &NoRegistryLookup,
            sha256: false,
            for_statement: false,
            run: RunOptions::default(),
            progress: Arc::default(),
            fail_on: Severity::Medium,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct GateResult {
    /// The report, with the verdict.
    pub report: Report,
    /// What a statement of the verdict is about, if one was to be made.
    pub subject: Option<StatementSubject>,
}

/// The model, as statements call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementSubject {
    /// Its name.
    pub name: String,
    /// Digest of its OpenSSF Model Signing manifest.
    pub sha256: [u8; 32],
    /// The signature and the attestations that were read.
    pub inputs: Vec<StatementInput>,
}

/// Everything that was read before the model is.
struct GateRequest<'a> {
    path: &'a Path,
    file: &'a PolicyFile,
    options: &'a GateOptions<'a>,
    signature_options: SignatureOptions,
    /// The signature, when there is one by who is trusted.
    signature: Option<VerifiedSignature>,
    sealed: Option<Seal>,
    watermarks: PolicyWatermarks,
}

/// Judges the model at a path by a policy, and by nothing else.
///
/// # Errors
/// The policy names what cannot be read; the model, or what comes with it, cannot be read, or changed under the run.
pub fn gate(
    path: &Path,
    policy: &PolicyFile,
    options: &GateOptions<'_>,
) -> Result<GateResult, Error> {
    open::refuse_cache(path)?;
    options.baseline.as_deref().map(open::refuse_cache).transpose()?;
    let mut report = Report::new("gate", &path.display().to_string());
    let mut inputs = RunInputs::default();
    let asked = GateRequest::read(path, policy, options, &mut inputs, &mut report)?;
    let (model, measured) = measurements::measure(&asked, &mut inputs, &mut report)?;
    let now = now()?;
    let evidence = evidence::gather(&asked, &model, &measured, now, &mut inputs, &mut report);
    let judgement = gate::judge(&policy.policy, &evidence);
    for rule in &judgement.rules {
        let title = rule.title();
        tracing::debug!(rule = ?title, outcome = ?rule.outcome, "judged a rule of the policy");
    }
    let nothing = judgement.nothing.clone().filter(|_| !judgement.fails());
    report.fail_on = options.fail_on;
    report.judge_by(PolicyUsed::new(policy, now, &judgement), judgement.findings);
    match &measured.audited {
        Some(audited) => report.profiles = profiles::audited(&report, &model, audited),
        None => profiles::place(&mut report, &model),
    }
    if !measured.detections.is_empty() {
        report.watermark = Some(WatermarkReport::from_detections(measured.detections.clone()));
    }
    let subject = options
        .for_statement
        .then(|| subject::statement_subject(&asked, &model, &measured))
        .transpose()?;
    inputs.check_unchanged(&[&model].into_iter().chain(&measured.original).collect::<Vec<_>>())?;
    if let Some(why) = nothing {
        // Nothing is violated, and nothing was judged either.
        report.conclude(Verdict::Pass);
        report.downgrade_pass(format!("{}: {why}", path.display()), NOTHING);
    }
    Ok(GateResult { report, subject })
}

impl<'a> GateRequest<'a> {
    /// Reads what the policy asks for. What is missing or wrong here is a mistake in the policy or in the
    /// options, except what comes with the model: that is for the policy to judge.
    fn read(
        path: &'a Path,
        file: &'a PolicyFile,
        options: &'a GateOptions<'a>,
        inputs: &mut RunInputs,
        report: &mut Report,
    ) -> Result<Self, Error> {
        if path.symlink_metadata().is_err() {
            return Err(Error::NoModel(path.to_owned()));
        }
        let trusted = trusted(file)?;
        let marks = PolicyWatermarks::read(file, report)?;
        let bundle = options.signature.clone().unwrap_or_else(|| locations::default_bundle(path));
        let named = options.signature.is_some() || options.attestations.is_some();
        let there = named || bundle.symlink_metadata().is_ok();
        let of_signature = SignatureOptions {
            bundle,
            trusted,
            attestations: options.attestations.clone(),
            require_attestations: Vec::new(),
            ignore_unsigned_files: file.policy.signature.allow_unsigned_files,
            ignore_paths: Vec::new(),
        };
        let signature = match file.policy.signature.is_active() && there {
            true => signature::read(&of_signature, inputs, report)?,
            false => None,
        };
        let wanted = file.policy.seal.is_required() || options.seal.is_some();
        let sealed = match wanted {
            true => {
                let named = options.seal.as_deref();
                reference_seal::read(path, named, named.is_none(), inputs, report)?
            }
            false => None,
        };
        Ok(Self {
            path,
            file,
            options,
            signature_options: of_signature,
            signature,
            sealed,
            watermarks: marks,
        })
    }

    fn opening(&self) -> ModelScope {
        let allow_symlinks = self.file.policy.signature.allow_symlinks;
        ModelScope { allow_symlinks, include_git_paths: false }
    }
}

/// Whom the policy trusts: each key by itself, and all roots together.
fn trusted(file: &PolicyFile) -> Result<Vec<TrustAnchors>, Error> {
    let policy = &file.policy.signature;
    let mut all = Vec::new();
    for (index, path) in policy.keys.iter().enumerate() {
        let trust = trust::read_key(&file.resolve(path));
        all.push(
            trust.map_err(|error| in_policy(error, file, format!("signature.keys[{index}]")))?,
        );
    }
    if !policy.roots.is_empty() {
        let roots: Vec<PathBuf> = policy.roots.iter().map(|path| file.resolve(path)).collect();
        let trust = trust::read_roots(&roots);
        all.push(trust.map_err(|error| in_policy(error, file, "signature.roots".to_owned()))?);
    }
    Ok(all)
}

/// What is wrong with something that a key of the policy names.
fn in_policy(error: impl Into<Error>, file: &PolicyFile, key: String) -> Error {
    Error::InPolicy { policy: file.path.clone(), key, source: Box::new(error.into()) }
}
