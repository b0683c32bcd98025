//! A signature that is checked beside whatever else is: read and trusted first, compared with the model
//! when its files were hashed.

use super::trust::{read_small, read_start};
use super::{Error, RunInputs, locations};
use crate::document::Report;
use crate::document::signature::{SignatureUsed, SignedModel};
use crate::examine::{self, Examination, Request};
use crate::judge::Finding;
use crate::judge::signature::{self, SignatureOutcome, SignedFiles};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tensorseal_base::hashing::{FileDigests, FileHashing, HashAlgorithm, Hasher};
use tensorseal_base::hex::hex;
use tensorseal_base::regular_file;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{self as engine, RunError, RunOptions, RunReport};
use tensorseal_format::{Checkpoint, GIT_NAMES, ModelFile};
use tensorseal_signing::attestation::{self, Attestation, AttestationError, AttestationKind};
use tensorseal_signing::{
    self as signing, Manifest, SignatureError, Signer, Statement, StatementError, TrustAnchors,
    VerifiedBundle, bundle,
};

/// A signature that is to be checked, and whom to trust.
#[derive(Debug, Clone)]
pub struct SignatureOptions {
    /// The OpenSSF Model Signing bundle.
    pub bundle: PathBuf,
    /// Whom to trust: the first of these that the signature verifies with is who signed.
    pub trusted: Vec<TrustAnchors>,
    /// The attestations signed with the model (default: those beside the bundle, if any).
    pub attestations: Option<PathBuf>,
    /// What must have been attested.
    pub require_attestations: Vec<AttestationKind>,
    /// Whether files that were not signed may lie in the model.
    pub ignore_unsigned_files: bool,
    /// Files or directories of the model that may be there unsigned.
    pub ignore_paths: Vec<PathBuf>,
}

impl SignatureOptions {
    /// A signature of every file of a model, by whom is trusted.
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

    /// Where the attestations are.
    pub fn attestations(&self) -> PathBuf {
        self.attestations.clone().unwrap_or_else(|| locations::attestations_of(&self.bundle))
    }

    /// Paths of the model that the signature and its attestations lie at, whatever they are called.
    pub fn paths_in_model(&self, model: &Path) -> Vec<String> {
        let beside = locations::attestations_of(&self.bundle);
        let named = self.attestations.as_deref().into_iter();
        locations::inside(model, &named.chain([&*self.bundle, &*beside]).collect::<Vec<_>>())
    }
}

/// A signature by who is trusted.
pub struct VerifiedSignature {
    /// What was signed.
    pub manifest: Manifest,
    /// Who signed.
    pub signer: Signer,
    /// What else the signer states.
    pub attestations: Vec<Attestation>,
}

/// Reads the signature that is to be checked. What is wrong with it is a finding; that there is none is not.
///
/// # Errors
/// It cannot be read, or the attestations cannot.
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
            tracing::debug!(bundle = ?path, rule, why, "the signature is not accepted");
            report.findings.push(finding.in_file(&name));
            return Ok(None);
        }
    };
    tracing::debug!(
        bundle = ?path,
        signer = ?opened.signer.to_string(),
        resources = manifest.resources.len(),
        hash = ?manifest.hashing.algorithm,
        "verified the signature"
    );
    for remark in &opened.warnings {
        let finding = Finding::new("signature/unusual-bundle", remark.to_string());
        report.findings.push(finding.in_file(&name));
    }
    let mut verified =
        VerifiedSignature { manifest, signer: opened.signer, attestations: Vec::new() };
    let beside = options.attestations();
    inputs.record(&beside);
    verified.read_attestations(options, &beside, &trust, report)?;
    report.signature = Some(SignatureUsed {
        source: path.display().to_string(),
        signer: Some(verified.signer.clone()),
        signed: Some(SignedModel::from_manifest(&verified.manifest)),
        attestations: verified.attestations.iter().map(Into::into).collect(),
    });
    Ok(Some(verified))
}

/// The signature of a model by the first of those who are trusted that it verifies with; else the finding
/// that it is of none, of which the last says why.
fn verify_bundle(
    bundle: &[u8],
    trusted: &[TrustAnchors],
) -> Result<(VerifiedBundle, TrustAnchors, Manifest), Box<Finding>> {
    let invalid = |error: &dyn std::error::Error| {
        let message = format!("the signature cannot be used: {error}");
        Box::new(Finding::new("signature/bundle-invalid", message.replace(['\n', '\r'], " ")))
    };
    let (now, nobody) = (jiff::Timestamp::now(), TrustAnchors::Roots(Vec::new()));
    let open = |trust: &TrustAnchors| {
        signing::verify(bundle, trust, now).map(|opened| (opened, trust.clone()))
    };
    let (last, others) = trusted.split_last().unwrap_or((&nobody, &[]));
    let first = others.iter().find_map(|trust| open(trust).ok());
    let (opened, trust) = first.map_or_else(|| open(last), Ok).map_err(|error| match error {
        SignatureError::Untrusted(error) => {
            let message = error.to_string().replace(['\n', '\r'], " ");
            Box::new(Finding::new("signature/not-trusted", message))
        }
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
            refuse(format!("{} attestations: more than a model has", lines.len()));
            return Ok(());
        }
        for (number, line) in (1..).zip(lines) {
            match self.attestation(line, trust) {
                Ok(attestation) => {
                    let kind = attestation.kind.name();
                    tracing::debug!(file = ?path, number, kind, "verified an attestation");
                    self.attestations.push(attestation);
                }
                Err(error) => {
                    refuse(format!("attestation {number} is not used: {}", chain(&error)))
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

    /// Whether it was made with git's own files at the top: they are then part of what is checked.
    pub fn lists_git_paths(&self) -> bool {
        let git = |name: &str| GIT_NAMES.contains(&name.split('/').next().unwrap_or_default());
        self.manifest.resources.iter().any(|resource| git(&resource.name))
    }

    /// Whether hashing all files of the model in its shards would give more digests than the signature has.
    pub fn is_overlong(&self, model: &Checkpoint) -> bool {
        let digests = |file: &ModelFile| self.manifest.hashing.digest_count(file.bytes);
        let all = model.files.iter().map(digests).fold(0, u64::saturating_add);
        all > (self.manifest.resources.len() + model.files.len()) as u64
    }

    /// Hashes the files that were signed, and nothing else.
    ///
    /// # Errors
    /// See [`RunError`].
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

    /// Compares the model with what was signed; `digests` are by file of the model.
    ///
    /// # Errors
    /// A path that is to be ignored is not in the model.
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
        // Something that is beside the seal is not beside the signature.
        report.coverage.not_covered.retain(|entry| !entry.kind.is_signed_only());
        report.coverage.not_covered.extend(outcome.not_covered.iter().cloned());
        for kind in &options.require_attestations {
            if !self.attestations.iter().any(|attestation| attestation.kind == *kind) {
                let message = format!("no attestation of kind {} was signed", kind.name());
                report.findings.push(Finding::new("signature/attestation-missing", message));
            }
        }
        Ok(outcome)
    }

    /// Holds what the signer states besides to what was measured of `model`, and notes in the report when
    /// the seal that was read from `place` is signed.
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

    /// Holds what was attested to what was measured. Where the files are not as they were signed, another
    /// root is no news.
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
                    "attested ({kind}) is the root {}, found {root}",
                    facts.model_root
                ));
            }
            if let (AttestationKind::Seal, Some(seal), Some(attested)) =
                (attestation.kind, seal, facts.document.as_deref())
                && seal != attested
            {
                differs(format!("attested is the seal {attested}, and {seal} is used"));
            }
        }
    }

    /// Whether the signer vouches for a seal: it is attested, or a file that is signed and intact.
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

    /// The bytes that were read as the seal must be those that were signed: a file may have been replaced
    /// between two readings.
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

/// Measures a model in one pass for what is asked of it, and for its signature if there is one; also gives the
/// digests that the signature is compared with, by file.
///
/// # Errors
/// It was not measured to its end.
pub fn measure(
    signature: Option<&VerifiedSignature>,
    model: &Checkpoint,
    (request, mut hashings): (Request<'_>, Vec<FileHashing>),
    options: &RunOptions,
    progress: &Progress,
) -> Result<(Examination, Vec<Option<FileDigests>>), Error> {
    // Digests of shards could take more memory than the signature pays for with its own length.
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

/// An error, and all that it comes from.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Why an attestation is not used.
#[derive(Debug, thiserror::Error)]
enum AttestationRejection {
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("it is signed by another than the model, {0}")]
    OtherSigner(Box<Signer>),
    #[error(transparent)]
    Statement(#[from] StatementError),
    #[error(transparent)]
    Attestation(#[from] AttestationError),
}

/// The digests of a small file, of one reading.
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
