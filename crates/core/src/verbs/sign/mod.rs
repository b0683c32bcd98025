//! Signing every file of a model, and facts of it.

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
use tensorseal_format::{Checkpoint, GIT_NAMES, OpenOptions};
use tensorseal_signing::attestation::AttestationKind;
use tensorseal_signing::{
    self as signing, Certificate, Manifest, PrivateKey, Resource, Signer, SigningMethod,
    TrustAnchors,
};

/// What is signed, by whom, and where the signature is to be.
#[derive(Debug, Clone)]
pub struct SignOptions<'a> {
    /// The key that signs, and how it is vouched for.
    pub signer: &'a (PrivateKey, SigningMethod),
    /// Where the bundle is written (default: [inside or beside](places::default_bundle) the model).
    pub output: Option<PathBuf>,
    /// How files are hashed.
    pub hashing: FileHashing,
    /// Files or directories of the model that are not signed; the signature says so.
    pub ignore_paths: Vec<PathBuf>,
    /// Facts that are signed, too, beside the bundle.
    pub attest: Vec<AttestationKind>,
    /// The seal to attest (default: where `seal` writes it).
    pub seal: Option<PathBuf>,
    /// The claim to attest.
    pub claim: Option<PathBuf>,
    /// Whether files that are malformed as checkpoints are signed, too.
    pub allow_malformed: bool,
    /// What belongs to the model.
    pub opening: ModelScope,
    /// How it is measured.
    pub run: RunOptions,
    /// What watches the run, and can stop it.
    pub progress: Arc<Progress>,
    /// The lowest severity that fails.
    pub fail_on: Severity,
}

impl<'a> SignOptions<'a> {
    /// Every file with SHA-256, which every client reads; no facts.
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

/// What a signature lists, and how.
struct SigningPlan<'a> {
    path: &'a Path,
    options: &'a SignOptions<'a>,
    /// The bundle and its attestations, where they lie in the model.
    own_outputs: Vec<String>,
    /// What was asked to be ignored.
    ignored: Vec<String>,
    /// Indices of the files that are signed.
    files: Vec<usize>,
}

/// Signs the model at a path.
///
/// # Errors
/// The model cannot be read or signed, or changed under the run; nothing can be written where it is to be.
pub fn sign(path: &Path, options: &SignOptions<'_>) -> Result<Report, Error> {
    open::refuse_cache(path)?;
    let target = options.output.clone().unwrap_or_else(|| locations::default_bundle(path));
    let beside = locations::attestations_of(&target);
    check::output(&target, "signature")?;
    check::output(&beside, "file of attestations")?;
    let own = locations::inside(path, &[&target, &beside]);
    let model = open(path, options, own.clone())?;
    let ignored = locations::ignored(path, &options.ignore_paths)?;
    let files = signature::to_sign(&model, &ignored);
    let listing = SigningPlan { path, options, own_outputs: own, ignored, files };
    check::model(&listing, &model)?;
    let measured = attest::measure(&listing, &model)?;
    let manifest = listing.manifest(&model, &measured.digests)?;
    let bundle = bundle(&manifest, options.signer)?;
    let mut inputs = RunInputs::default();
    let attested = Attester { path, options, manifest: &manifest, inputs: &mut inputs };
    let attested = attested.sign(&measured)?;
    inputs.check_unchanged(&[&model])?;
    write(&target, &bundle)?;
    if !attested.lines.is_empty() {
        write(&beside, &attested.lines)?;
    } else if beside.is_file() {
        fs::remove_file(&beside)
            .map_err(|source| SigningError::Remove { path: beside.clone(), source })?;
    }
    let mut report = Report::new("sign", &path.display().to_string());
    measured.fill(&mut report, &model);
    report.notes.extend(compatibility_note(options.hashing));
    report.coverage.not_covered.retain(|entry| !entry.kind.is_signed_only());
    report.coverage.not_covered.extend(signature::left_out(&model, &listing.ignored));
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
    let how = OpenOptions {
        exclude,
        seals: locations::seals_inside(path, options.seal.as_deref()),
        list_signed_only: true,
        ..options.opening.options()
    };
    Ok(Checkpoint::open(path, &how)?)
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
        let mut ignore_paths = [self.own_outputs.as_slice(), &self.ignored].concat();
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

/// The bundle, which was verified as everybody will.
fn bundle(
    manifest: &Manifest,
    (key, method): &(PrivateKey, SigningMethod),
) -> Result<Vec<u8>, SigningError> {
    let bundle = signing::sign_statement(&manifest.to_statement_json(), key, method)?;
    let trust = match method {
        SigningMethod::Key => TrustAnchors::Key(key.public()),
        // Without its root a chain cannot be followed: that is with whoever verifies.
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

/// Not every client reads what this one writes.
fn compatibility_note(hashing: FileHashing) -> Option<String> {
    let unusual = match (hashing.algorithm, hashing.shard) {
        (HashAlgorithm::Sha256, None) => return None,
        (hash, None) => hash.name().to_owned(),
        (hash, Some(_)) => format!("{} in shards", hash.name()),
    };
    Some(format!("{unusual}: read by this program and the Python library, not by every client"))
}
