//! The `sign` command: signs all files of a model, and attestations about it.

mod attest;
mod check;
mod error;

use super::output::write_whole;
use super::{Error, ModelScope, RunInputs, locations, open};
use crate::document::Report;
use crate::document::signature::{SignatureUsed, SignedModel};
use crate::judge::signature;
use attest::Attester;
pub use error::SigningError;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorseal_base::display::display_name;
use tensorseal_base::hashing::{FileDigests, FileHashing, HashAlgorithm};
use tensorseal_base::severity::Severity;
use tensorseal_engine::RunOptions;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_format::{Checkpoint, GIT_NAMES};
use tensorseal_signing::attestation::AttestationKind;
use tensorseal_signing::{
    self as signing, Certificate, Manifest, PrivateKey, Resource, Signer, SigningMethod,
    TrustAnchors,
};

/// Options of [`sign`].
#[derive(Debug, Clone)]
pub struct SignOptions<'a> {
    /// The key that signs, and the method by which verifiers trust it.
    pub signer: &'a (PrivateKey, SigningMethod),
    /// The output path of the bundle (default: [inside or next to](locations::default_bundle) the model).
    pub output: Option<PathBuf>,
    /// How files are hashed.
    pub hashing: FileHashing,
    /// Files or directories of the model that are not signed. The signature lists them as ignored.
    pub ignore_paths: Vec<PathBuf>,
    /// The attestations that are signed as well, and written next to the bundle.
    pub attest: Vec<AttestationKind>,
    /// The seal to attest (default: where `seal` writes it).
    pub seal: Option<PathBuf>,
    /// The claim to attest.
    pub claim: Option<PathBuf>,
    /// Whether malformed checkpoint files are signed as well.
    pub allow_malformed: bool,
    /// Which files belong to the model.
    pub opening: ModelScope,
    /// How the model is measured.
    pub run: RunOptions,
    /// Reports the progress of the run, and can stop it.
    pub progress: Arc<Progress>,
    /// The lowest severity that fails.
    pub fail_on: Severity,
}

impl<'a> SignOptions<'a> {
    /// Returns the default options: all files with SHA-256, which every client supports, and no attestations.
    pub fn new(signer: &'a (PrivateKey, SigningMethod)) -> Self {
        Self {
            signer,
            output: None,
            hashing: FileHashing::whole(HashAlgorithm::Sha256),
            ignore_paths: Vec::new(),
            attest: Vec::new(),
            seal: None,
            claim: None,
            allow_malformed: false,
            opening: ModelScope::default(),
            run: RunOptions::default(),
            progress: Arc::default(),
            fail_on: Severity::Medium,
        }
    }
}

/// The files that a signature lists.
struct SigningPlan<'a> {
    path: &'a Path,
    options: &'a SignOptions<'a>,
    /// The bundle and its attestations, if they are inside the model.
    outputs: Vec<String>,
    /// The paths that the caller wants to ignore.
    ignored: Vec<String>,
    /// The indices of the files that are signed.
    files: Vec<usize>,
}

/// Signs the model at a path.
///
/// # Errors
/// Returns an error if the model cannot be read or signed or changed during the run, or if an output cannot be
/// written.
pub fn sign(path: &Path, options: &SignOptions<'_>) -> Result<Report, Error> {
    open::refuse_cache(path)?;
    let target = options.output.clone().unwrap_or_else(|| locations::default_bundle(path));
    let attestations = locations::attestations_of(&target);
    check::output(&target, "a signature")?;
    check::output(&attestations, "an attestation file")?;
    let outputs = locations::inside(path, &[&target, &attestations]);
    let model = open(path, options, outputs.clone())?;
    let ignored = locations::ignored(path, &options.ignore_paths)?;
    let files = signature::to_sign(&model, &ignored);
    let plan = SigningPlan { path, options, outputs, ignored, files };
    check::model(&plan, &model)?;
    let measured = attest::measure(&plan, &model)?;
    let manifest = plan.manifest(&model, &measured.digests)?;
    let bundle = bundle(&manifest, options.signer)?;
    let mut inputs = RunInputs::default();
    let attester = Attester { path, options, manifest: &manifest, inputs: &mut inputs };
    let attested = attester.sign(&measured)?;
    inputs.check_unchanged(&[&model])?;
    write(&target, &bundle)?;
    if !attested.lines.is_empty() {
        write(&attestations, &attested.lines)?;
    } else if attestations.is_file() {
        fs::remove_file(&attestations)
            .map_err(|source| SigningError::Remove { path: attestations.clone(), source })?;
    }
    let mut report = Report::new("sign", &path.display().to_string());
    measured.fill(&mut report, &model);
    report.notes.extend(compatibility_note(options.hashing));
    report.coverage.not_covered.retain(|entry| !entry.kind.is_signed_only());
    report.coverage.not_covered.extend(signature::left_out(&model, &plan.ignored));
    let (key, method) = options.signer;
    report.signature = Some(SignatureUsed {
        source: target.display().to_string(),
        signer: Some(match method {
            SigningMethod::Key => Signer::from_key(&key.public()),
            SigningMethod::Certificate { leaf, .. } => Signer::from_certificate(leaf),
        }),
        signed: Some(SignedModel::from_manifest(&manifest)),
        attestations: attested.used,
    });
    report.judge(options.fail_on);
    Ok(report)
}

fn open(path: &Path, options: &SignOptions<'_>, exclude: Vec<String>) -> Result<Checkpoint, Error> {
    let mut open_options = options.opening.options();
    open_options.exclude = exclude;
    open_options.seals = locations::seals_inside(path, options.seal.as_deref());
    open_options.list_signed_only = true;
    Ok(Checkpoint::open(path, &open_options)?)
}

impl SigningPlan<'_> {
    fn manifest(
        &self,
        model: &Checkpoint,
        digests: &[Option<FileDigests>],
    ) -> Result<Manifest, Error> {
        let (hashing, opening) = (self.options.hashing, self.options.opening);
        let mut resources = Vec::new();
        for index in &self.files {
            let file = &model.files[*index];
            let found = digests.get(*index).and_then(Option::as_ref);
            let found = found.and_then(|found| found.shard_digests(hashing));
            if found.is_none() && hashing.digest_count(file.bytes) > 0 {
                return Err(Error::NotHashed(display_name(&file.path)));
            }
            let shard = hashing.shard.map(|shard| shard.get());
            for (number, digest) in (0..).zip(found.into_iter().flatten()) {
                let range = |shard: u64| [number * shard, ((number + 1) * shard).min(file.bytes)];
                resources.push(Resource {
                    name: file.path.clone(),
                    range: shard.map(range),
                    digest: digest.to_vec(),
                });
            }
        }
        let mut ignore_paths = [self.outputs.as_slice(), &self.ignored].concat();
        if !opening.include_git_paths {
            ignore_paths.extend(GIT_NAMES.map(str::to_owned));
        }
        ignore_paths.sort();
        ignore_paths.dedup();
        let subject =
            locations::model_name(self.path).map_err(|_| Error::NoModel(self.path.to_owned()))?;
        let links = opening.allow_symlinks;
        let manifest = Manifest::new(&subject, hashing, links, ignore_paths, resources);
        Ok(manifest.map_err(SigningError::Manifest)?)
    }
}

/// Signs a manifest, and verifies the new bundle.
fn bundle(
    manifest: &Manifest,
    (key, method): &(PrivateKey, SigningMethod),
) -> Result<Vec<u8>, SigningError> {
    let bundle = signing::sign_statement(&manifest.to_statement_json(), key, method)?;
    let trust = match method {
        SigningMethod::Key => TrustAnchors::Key(key.public()),
        // Without its root the chain cannot be verified here; verifiers have the root.
        SigningMethod::Certificate { chain, .. } if !chain.iter().any(Certificate::is_root) => {
            return Ok(bundle);
        }
        SigningMethod::Certificate { chain, .. } => TrustAnchors::Roots(chain.clone()),
    };
    let opened = signing::verify(&bundle, &trust, jiff::Timestamp::now())
        .map_err(SigningError::Unverified)?;
    let read = Manifest::parse(&opened.statement).map_err(SigningError::Unreadable)?;
    match read == *manifest {
        true => Ok(bundle),
        false => Err(SigningError::OtherManifest),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_whole(path, &|out| out.write_all(bytes))
        .map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Returns a note if other clients may not support the hashing of this signature.
fn compatibility_note(hashing: FileHashing) -> Option<String> {
    let unusual = match (hashing.algorithm, hashing.shard) {
        (HashAlgorithm::Sha256, None) => return None,
        (hash, None) => hash.name().to_owned(),
        (hash, Some(_)) => format!("{} in shards", hash.name()),
    };
    Some(format!(
        "{unusual} is supported by this program and the Python library, but not by every client"
    ))
}
