//! The `gate` command: judges a model by a policy, with one pass over the model.

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

/// The exit code of a command that had nothing to work on.
const NOTHING: u8 = 4;

/// Options of [`gate`](fn@gate).
#[derive(Clone)]
#[non_exhaustive]
pub struct GateOptions<'a> {
    /// The signature (default: where `sign` writes it).
    pub signature: Option<PathBuf>,
    /// The attestations that were signed with the model (default: those next to the signature).
    pub attestations: Option<PathBuf>,
    /// The seal (default: where `seal` writes it).
    pub seal: Option<PathBuf>,
    /// A seal or another model that the weights are compared with (default: the seal of the model).
    pub baseline: Option<PathBuf>,
    /// Looks up what registry scans recorded, if the policy requires it.
    pub registries: &'a dyn RegistryLookup,
    /// Whether files are hashed with SHA-256, as bills of materials need it.
    pub sha256: bool,
    /// Whether the [subject](GateResult::subject) for statements about the verdict is needed.
    pub for_statement: bool,
    /// How the model is measured.
    pub run: RunOptions,
    /// Reports the progress of the run, and can stop it.
    pub progress: Arc<Progress>,
    /// The severity that reports show as failing. Only the policy decides what fails.
    pub fail_on: Severity,
}

impl Default for GateOptions<'_> {
    /// Returns the default options: the signature and seal of the model, and no registry.
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

/// The result of [`gate`](fn@gate).
#[derive(Debug)]
pub struct GateResult {
    /// The report, with the verdict.
    pub report: Report,
    /// The subject for statements about the verdict, if it was requested.
    pub subject: Option<StatementSubject>,
}

/// The model as the subject of statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementSubject {
    /// The name of the model.
    pub name: String,
    /// The digest of the OpenSSF Model Signing manifest.
    pub sha256: [u8; 32],
    /// The signature and the attestations that were read.
    pub inputs: Vec<StatementInput>,
}

/// The policy, the options and everything that is read before the model.
struct GateRequest<'a> {
    path: &'a Path,
    file: &'a PolicyFile,
    options: &'a GateOptions<'a>,
    signature_options: SignatureOptions,
    /// The signature, if there is one by a trusted signer.
    signature: Option<VerifiedSignature>,
    sealed: Option<Seal>,
    watermarks: PolicyWatermarks,
}

/// Judges the model at a path by a policy.
///
/// # Errors
/// Returns an error if a file that the policy names, the model, its signature or its seal cannot be read, or if one of
/// them changed during the run.
pub fn gate(
    path: &Path,
    policy: &PolicyFile,
    options: &GateOptions<'_>,
) -> Result<GateResult, Error> {
    open::refuse_cache(path)?;
    options.baseline.as_deref().map(open::refuse_cache).transpose()?;
    let mut report = Report::new("gate", &path.display().to_string());
    let mut inputs = RunInputs::default();
    let request = GateRequest::read(path, policy, options, &mut inputs, &mut report)?;
    let (model, measured) = measurements::measure(&request, &mut inputs, &mut report)?;
    let now = now()?;
    let evidence = evidence::gather(&request, &model, &measured, now, &mut inputs, &mut report);
    let judgement = gate::judge(&policy.policy, &evidence);
    for rule in &judgement.rules {
        let (title, outcome) = (rule.title(), rule.outcome.name());
        tracing::debug!(rule = %title, %outcome, "judged a rule of the policy");
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
        .then(|| subject::statement_subject(&request, &model, &measured))
        .transpose()?;
    inputs.check_unchanged(&[&model].into_iter().chain(&measured.original).collect::<Vec<_>>())?;
    if let Some(why) = nothing {
        // The policy is not violated, but there was nothing to judge.
        report.conclude(Verdict::Pass);
        report.downgrade_pass(format!("{}: {why}", path.display()), NOTHING);
    }
    Ok(GateResult { report, subject })
}

impl<'a> GateRequest<'a> {
    /// Reads the files that the policy and the options name. Problems with them are errors; problems with the
    /// signature and the seal of the model are evidence for the policy.
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
        let watermarks = PolicyWatermarks::read(file, report)?;
        let bundle = options.signature.clone().unwrap_or_else(|| locations::default_bundle(path));
        let named = options.signature.is_some() || options.attestations.is_some();
        let exists = named || bundle.symlink_metadata().is_ok();
        let signature_options = SignatureOptions {
            bundle,
            trusted,
            attestations: options.attestations.clone(),
            require_attestations: Vec::new(),
            ignore_unsigned_files: file.policy.signature.allow_unsigned_files,
            ignore_paths: Vec::new(),
        };
        let signature = match file.policy.signature.is_active() && exists {
            true => signature::read(&signature_options, inputs, report)?,
            false => None,
        };
        let needs_seal = file.policy.seal.is_required() || options.seal.is_some();
        let sealed = match needs_seal {
            true => {
                let named = options.seal.as_deref();
                reference_seal::read(path, named, named.is_none(), inputs, report)?
            }
            false => None,
        };
        Ok(Self { path, file, options, signature_options, signature, sealed, watermarks })
    }

    fn opening(&self) -> ModelScope {
        let allow_symlinks = self.file.policy.signature.allow_symlinks;
        ModelScope { allow_symlinks, include_git_paths: false }
    }
}

/// Returns the trust anchors of the policy: each key separately, and all roots together.
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

/// Wraps an error about something that a key of the policy names.
fn in_policy(error: impl Into<Error>, file: &PolicyFile, key: String) -> Error {
    Error::InPolicy { policy: file.path.clone(), key, source: Box::new(error.into()) }
}
