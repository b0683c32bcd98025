//! Verifies a signature: it is read and checked against trust anchors first, and compared with the model after its
//! files were hashed.

use super::trust::{read_small, read_start};
use super::{Error, RunInputs, locations};
use crate::document::Report;
use crate::document::signature::{SignatureUsed, SignedModel};
use crate::examine::{self, Examination, Request};
use crate::judge::Finding;
use crate::judge::signature::{self, SignatureOutcome, SignedFiles};
use crate::seal::Seal;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tensorseal_base::display::{display_name, display_path, quoted};
use tensorseal_base::hashing::{FileDigests, FileHashing, HashAlgorithm, Hasher};
use tensorseal_base::hex::hex;
use tensorseal_base::regular_file;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{self as engine, RunError, RunOptions, RunReport};
use tensorseal_format::{Checkpoint, GIT_NAMES, ModelFile};
use tensorseal_signing::attestation::{self, Attestation, AttestationError, AttestationKind};
use tensorseal_signing::{
    self as signing, BundleError, Manifest, SignatureError, Signer, Statement, StatementError,
    TrustAnchors, UntrustedError, VerifiedBundle, bundle,
};

/// A signature to verify, and the trusted signers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SignatureOptions {
    /// The OpenSSF Model Signing bundle.
    pub bundle: PathBuf,
    /// The trust anchors. The first one that the signature verifies with determines the signer.
    pub trusted: Vec<TrustAnchors>,
    /// The attestations that were signed with the model (default: those next to the bundle, if there are any).
    pub attestations: Option<PathBuf>,
    /// The kinds of attestations that are required.
    pub require_attestations: Vec<AttestationKind>,
    /// Whether files that were not signed are allowed in the model.
    pub ignore_unsigned_files: bool,
    /// Files or directories of the model that are allowed to be unsigned.
    pub ignore_paths: Vec<PathBuf>,
}

impl SignatureOptions {
    /// Returns the default options: a signature of every file of a model by a trusted signer.
    pub fn new(bundle: impl Into<PathBuf>, trust: TrustAnchors) -> Self {
        Self {
            bundle: bundle.into(),
            trusted: vec![trust],
            attestations: None,
            require_attestations: Vec::new(),
            ignore_unsigned_files: false,
            ignore_paths: Vec::new(),
        }
    }

    /// Returns the path of the attestations.
    pub fn attestations(&self) -> PathBuf {
        self.attestations.clone().unwrap_or_else(|| locations::attestations_of(&self.bundle))
    }

    /// Returns the paths in the model at which the signature and its attestations are stored. A file that the seal lists
    /// and that holds no signature bundles is part of the model, whatever it was named as.
    pub fn paths_in_model(&self, model: &Path, sealed: Option<&Seal>) -> Vec<String> {
        let default = locations::attestations_of(&self.bundle);
        let named = self.attestations.as_deref().into_iter();
        let is_signature = |path: &&Path| {
            let inside = locations::relative(model, path);
            let listed = inside
                .is_some_and(|inside| sealed.is_some_and(|sealed| sealed.file(&inside).is_some()));
            !listed || locations::holds_bundles(path)
        };
        let paths = named.chain([&*self.bundle, &*default]).filter(is_signature);
        locations::inside(model, &paths.collect::<Vec<_>>())
    }
}

/// A signature that was verified with a trust anchor.
pub struct VerifiedSignature {
    /// The signed manifest.
    pub manifest: Manifest,
    /// The signer.
    pub signer: Signer,
    /// The verified attestations of the signer.
    pub attestations: Vec<Attestation>,
}

/// Reads and verifies a signature. An invalid signature is a finding.
///
/// # Errors
/// Returns an error if the signature or the attestations cannot be read.
pub fn read(
    options: &SignatureOptions,
    inputs: &mut RunInputs,
    report: &mut Report,
) -> Result<Option<VerifiedSignature>, Error> {
    let path = options.bundle.as_path();
    inputs.record(path);
    let bundle = read_start(path, bundle::MAX_LEN as u64)?;
    report.signature = Some(SignatureUsed::unknown(path.display().to_string()));
    let name = locations::file_name(path);
    let (opened, trust, manifest) = match verify_bundle(&bundle, &options.trusted) {
        Ok(read) => read,
        Err(finding) => {
            let (rule, why) = (finding.rule, &finding.message);
            tracing::debug!(bundle = %display_path(path), %rule, %why, "the signature is not accepted");
            report.findings.push(finding.in_file(&name));
            return Ok(None);
        }
    };
    tracing::debug!(
        bundle = %display_path(path),
        signer = %display_name(&opened.signer.to_string()),
        resources = manifest.resources.len(),
        hash = %manifest.hashing.algorithm.name(),
        "verified the signature"
    );
    for remark in &opened.warnings {
        let finding = Finding::new("signature/unusual-bundle", remark.to_string());
        report.findings.push(finding.in_file(&name));
    }
    let mut verified =
        VerifiedSignature { manifest, signer: opened.signer, attestations: Vec::new() };
    let attestations = options.attestations();
    inputs.record(&attestations);
    verified.read_attestations(options, &attestations, &trust, report)?;
    report.signature = Some(SignatureUsed {
        source: path.display().to_string(),
        signer: Some(verified.signer.clone()),
        signed: Some(SignedModel::from_manifest(&verified.manifest)),
        attestations: verified.attestations.iter().map(Into::into).collect(),
    });
    Ok(Some(verified))
}

/// Verifies a bundle with the first trust anchor that accepts it, or returns a finding with the error of the last one.
fn verify_bundle(
    bundle: &[u8],
    trusted: &[TrustAnchors],
) -> Result<(VerifiedBundle, TrustAnchors, Manifest), Box<Finding>> {
    let bundle_invalid = |message: String| {
        Box::new(Finding::new("signature/bundle-invalid", message.replace(['\n', '\r'], " ")))
    };
    let invalid = |error: &dyn std::error::Error| {
        bundle_invalid(format!("the signature cannot be used: {error}"))
    };
    let (now, no_anchors) = (jiff::Timestamp::now(), TrustAnchors::Roots(Vec::new()));
    let open = |trust: &TrustAnchors| {
        signing::verify(bundle, trust, now).map(|opened| (opened, trust.clone()))
    };
    let (last, others) = trusted.split_last().unwrap_or((&no_anchors, &[]));
    let first = others.iter().find_map(|trust| open(trust).ok());
    let (opened, trust) = first.map_or_else(|| open(last), Ok).map_err(|error| match error {
        SignatureError::Untrusted(error) => {
            let message = match &error {
                UntrustedError::OtherKey { named, .. } if !others.is_empty() => {
                    let (named, all) = (quoted(named), trusted.len());
                    format!("signed with key {named}, which none of the {all} trust anchors is")
                }
                error => error.to_string().replace(['\n', '\r'], " "),
            };
            Box::new(Finding::new("signature/not-trusted", message))
        }
        // These errors say what the file is not.
        SignatureError::Bundle(
            error @ (BundleError::Empty | BundleError::TooLong(_) | BundleError::Json(_)),
        ) => bundle_invalid(error.to_string()),
        malformed => invalid(&malformed),
    })?;
    let manifest = Manifest::parse(&opened.statement).map_err(|error| invalid(&error))?;
    Ok((opened, trust, manifest))
}

impl VerifiedSignature {
    fn read_attestations(
        &mut self,
        options: &SignatureOptions,
        path: &Path,
        trust: &TrustAnchors,
        report: &mut Report,
    ) -> Result<(), Error> {
        let lines = match options.attestations.is_none() && path.symlink_metadata().is_err() {
            true => Default::default(),
            false => read_small(path, attestation::MAX_FILE)?,
        };
        let lines: Vec<&[u8]> =
            lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let name = locations::file_name(path);
        let mut refuse = |message: String| {
            let message = message.replace(['\n', '\r'], " ");
            report
                .findings
                .push(Finding::new("signature/attestation-invalid", message).in_file(&name));
        };
        if lines.len() > attestation::MAX_ATTESTATIONS {
            refuse(format!(
                "{} attestations, more than the limit of {}",
                lines.len(),
                attestation::MAX_ATTESTATIONS
            ));
            return Ok(());
        }
        for (number, line) in (1..).zip(lines) {
            match self.attestation(line, trust) {
                Ok(attestation) => {
                    let kind = attestation.kind.name();
                    tracing::debug!(file = %display_path(path), number, %kind, "verified an attestation");
                    self.attestations.push(attestation);
                }
                Err(error) => {
                    refuse(format!("attestation {number} was rejected: {}", chain(&error)))
                }
            }
        }
        Ok(())
    }

    fn attestation(
        &self,
        line: &[u8],
        trust: &TrustAnchors,
    ) -> Result<Attestation, AttestationRejection> {
        let opened = signing::verify(line, trust, jiff::Timestamp::now())?;
        if opened.signer != self.signer {
            return Err(AttestationRejection::OtherSigner(Box::new(opened.signer)));
        }
        let statement = Statement::parse(&opened.statement)?;
        Ok(Attestation::from_statement(statement, self.manifest.root)?)
    }

    /// Returns whether the signature lists git metadata, which is then part of the comparison.
    pub fn lists_git_paths(&self) -> bool {
        let git = |name: &str| GIT_NAMES.contains(&name.split('/').next().unwrap_or_default());
        self.manifest.resources.iter().any(|resource| git(&resource.name))
    }

    /// Returns whether hashing all files of the model in shards would give more digests than the signature has.
    pub fn is_overlong(&self, model: &Checkpoint) -> bool {
        let digests = |file: &ModelFile| self.manifest.hashing.digest_count(file.bytes);
        let all = model.files.iter().map(digests).fold(0, u64::saturating_add);
        all > (self.manifest.resources.len() + model.files.len()) as u64
    }

    /// Hashes only the files that were signed.
    ///
    /// # Errors
    /// Returns a [`RunError`] if a file cannot be read or the run is interrupted.
    pub fn hash(
        &self,
        model: &Checkpoint,
        options: &RunOptions,
        progress: &Progress,
    ) -> Result<(Vec<Option<FileDigests>>, RunReport), RunError> {
        let wanted = signature::to_hash(model, &self.manifest);
        let files: Vec<ModelFile> =
            wanted.iter().map(|index| model.files[*index].clone()).collect();
        let mut run = engine::hash_files(&files, &[self.manifest.hashing], options, progress)?;
        let mut digests = vec![None; model.files.len()];
        for (index, found) in wanted.into_iter().zip(std::mem::take(&mut run.file_digests)) {
            digests[index] = found;
        }
        Ok((digests, run))
    }

    /// Compares the model with the signed manifest; `digests` has an entry for each file of the model.
    ///
    /// # Errors
    /// Returns [`Error::NotInModel`] if a path to ignore is not in the model.
    pub fn compare(
        &self,
        model: &Checkpoint,
        digests: &[Option<FileDigests>],
        (options, allow_symlinks): (&SignatureOptions, bool),
        report: &mut Report,
    ) -> Result<SignatureOutcome, Error> {
        let outcome = signature::judge(&SignedFiles {
            model,
            manifest: &self.manifest,
            digests,
            allow_symlinks,
            ignore_unsigned_files: options.ignore_unsigned_files,
            ignore_paths: &locations::ignored(&model.path, &options.ignore_paths)?,
        });
        // Signed-only files are not covered by a seal, but by the signature.
        report.coverage.not_covered.retain(|entry| !entry.kind.is_signed_only());
        report.coverage.not_covered.extend(outcome.not_covered.iter().cloned());
        for kind in &options.require_attestations {
            if !self.attestations.iter().any(|attestation| attestation.kind == *kind) {
                let message = format!("no attestation of kind {} was found", kind.name());
                report.findings.push(Finding::new("signature/attestation-missing", message));
            }
        }
        Ok(outcome)
    }

    /// Compares the attestations with what was measured of `model`, and notes in the report whether the seal that was
    /// read from `place` is signed.
    pub fn check_attestations(
        &self,
        files: &SignatureOutcome,
        (model, place): (&Path, &Path),
        root: &str,
        report: &mut Report,
    ) {
        let used = report.seal.as_ref().and_then(|seal| seal.digest.clone());
        self.compare_attested(files, root, used.as_deref(), report);
        if let (Some(seal), Some(digest)) = (&mut report.seal, used)
            && self.covers_seal(model, place, &digest, files)
        {
            seal.signed_by = Some(self.signer.to_string());
        }
    }

    /// Compares the attestations with the measured root and the used seal. If files differ from the signature, a
    /// different root is expected and not reported.
    fn compare_attested(
        &self,
        files: &SignatureOutcome,
        root: &str,
        seal: Option<&str>,
        report: &mut Report,
    ) {
        let mut differs = |message: String| {
            report.findings.push(Finding::new("signature/attestation-differs", message));
        };
        for attestation in &self.attestations {
            let (kind, facts) = (attestation.kind.name(), &attestation.predicate);
            if facts.model_root != root && files.is_intact() {
                differs(format!(
                    "the {kind} attestation states the root {}, found {root}",
                    facts.model_root
                ));
            }
            if let (AttestationKind::Seal, Some(seal), Some(attested)) =
                (attestation.kind, seal, facts.document.as_deref())
                && seal != attested
            {
                differs(format!("the attested seal is {attested}, but {seal} was used"));
            }
        }
    }

    /// Returns whether the signer vouches for a seal: it is attested, or it is a signed and intact file.
    pub fn covers_seal(
        &self,
        model: &Path,
        seal: &Path,
        digest: &str,
        intact: &SignatureOutcome,
    ) -> bool {
        let attested = self.attestations.iter().any(|attestation| {
            attestation.kind == AttestationKind::Seal
                && attestation.predicate.document.as_deref() == Some(digest)
        });
        attested || self.lists(model, seal, digest, intact)
    }

    /// Returns whether the signature lists the seal with the digest that was read. The file is hashed again, because
    /// it may have been replaced between two reads.
    fn lists(&self, model: &Path, seal: &Path, digest: &str, intact: &SignatureOutcome) -> bool {
        let Some(path) = locations::relative(model, seal) else { return false };
        let listed = self.manifest.resources.iter().find(|resource| resource.name == path);
        let (Some(listed), None) = (listed, self.manifest.hashing.shard) else { return false };
        let hashes = [HashAlgorithm::Blake3, self.manifest.hashing.algorithm];
        let Ok([blake3, signed]) = digests(seal, hashes) else { return false };
        intact.intact.contains(&path)
            && format!("blake3:{}", hex(&blake3)) == digest
            && signed == listed.digest
    }
}

/// Measures a model in one pass for a request and its signature, if there is one. Also returns the digests by file that
/// the signature is compared with.
///
/// # Errors
/// Returns an error if the measurement was not completed.
pub fn measure(
    signature: Option<&VerifiedSignature>,
    model: &Checkpoint,
    (request, mut hashings): (Request<'_>, Vec<FileHashing>),
    options: &RunOptions,
    progress: &Progress,
) -> Result<(Examination, Vec<Option<FileDigests>>), Error> {
    // Digests of shards could take much more memory than the signature itself.
    let overlong = signature.filter(|signature| signature.is_overlong(model));
    let along = signature.filter(|_| overlong.is_none()).map(|signed| signed.manifest.hashing);
    hashings.extend(along.filter(|along| !hashings.contains(along)));
    let request = Request { file_hashing: hashings.into(), ..request };
    let examined = examine::measure(model, &request, options, progress)?;
    let digests = match overlong {
        Some(signature) => signature.hash(model, options, progress)?.0,
        None => examined.run.file_digests.clone(),
    };
    Ok((examined, digests))
}

/// Formats an error with all of its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Why an attestation was rejected.
#[derive(Debug, thiserror::Error)]
enum AttestationRejection {
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("it was signed by {0}, not by the signer of the model")]
    OtherSigner(Box<Signer>),
    #[error(transparent)]
    Statement(#[from] StatementError),
    #[error(transparent)]
    Attestation(#[from] AttestationError),
}

/// Computes several digests of a small file in one read.
fn digests<const N: usize>(path: &Path, hashes: [HashAlgorithm; N]) -> io::Result<[Vec<u8>; N]> {
    let mut hashers = hashes.map(|hash| Hasher::new(hash, 0));
    let mut file = regular_file::open_regular(path)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hashers.map(Hasher::finish)),
            len => hashers.iter_mut().for_each(|hasher| hasher.update(&piece[..len])),
        }
    }
}
