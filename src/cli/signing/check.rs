//! A signature that is checked beside whatever else is: read and trusted first, compared with the model
//! when its files were hashed.

use super::args::SignatureArgs;
use super::{keys, places};
use crate::cli::args::Opening;
use crate::cli::inputs::Inputs;
use crate::cli::{Failure, output, running};
use anyhow::anyhow;
use std::io::{self, Read, Write};
use std::path::Path;
use tensorseal::checkpoint::{Checkpoint, GIT_NAMES, ModelFile};
use tensorseal::engine::{self, RunOptions, RunReport};
use tensorseal::judge::Finding;
use tensorseal::judge::signature::{self, Outcome, Signed};
use tensorseal::report::human::Palette;
use tensorseal::report::signature::SignedModel;
use tensorseal::report::units::count;
use tensorseal::report::{Report, SignatureUsed};
use tensorseal::seal::canonical::hex;
use tensorseal::signing::attestation::{self, Attestation, Kind};
use tensorseal::signing::{
    self, Manifest, Opened, SignatureError, Signer, Statement, Trust, bundle,
};
use tensorseal::stream::hashing::{FileDigests, HashAlgorithm, Hasher};
use tensorseal::stream::progress::Progress;
use tensorseal::stream::small;

/// A signature by who is trusted.
pub struct Checked {
    /// What was signed.
    pub manifest: Manifest,
    /// Who signed.
    pub signer: Signer,
    /// What else the signer states.
    pub attestations: Vec<Attestation>,
}

/// Reads the signature that is to be checked. What is wrong with it is a finding; that there is none, or no
/// key to check it with, is not.
pub fn read(
    args: &SignatureArgs,
    inputs: &mut Inputs,
    report: &mut Report,
) -> Result<Option<Checked>, Failure> {
    let Some(path) = args.signature.as_deref() else { return Ok(None) };
    let trust = keys::trust(args.public_key.as_deref(), &args.ca)?;
    read_trusted(path, args, &[trust], inputs, report)
}

/// The same, of whoever of these: the first that the signature verifies with.
pub fn read_trusted(
    path: &Path,
    args: &SignatureArgs,
    trusted: &[Trust],
    inputs: &mut Inputs,
    report: &mut Report,
) -> Result<Option<Checked>, Failure> {
    inputs.note(path);
    let bundle = keys::read_start(path, bundle::MAX_LEN as u64)?;
    report.signature = Some(SignatureUsed::unknown(path.display().to_string()));
    let name = output::file_name(path);
    let (opened, trust, manifest) = match opened(&bundle, trusted) {
        Ok(read) => read,
        Err(finding) => {
            report.findings.push(finding.in_file(&name));
            return Ok(None);
        }
    };
    for remark in &opened.remarks {
        let finding = Finding::new("signature/unusual-bundle", remark.to_string());
        report.findings.push(finding.in_file(&name));
    }
    let mut checked = Checked { manifest, signer: opened.signer, attestations: Vec::new() };
    let beside = args.attestations.clone().unwrap_or_else(|| places::attestations_of(path));
    inputs.note(&beside);
    checked.read_attestations(args, &beside, &trust, report)?;
    report.signature = Some(SignatureUsed {
        source: path.display().to_string(),
        signer: Some(checked.signer.clone()),
        signed: Some(SignedModel::of(&checked.manifest)),
        attestations: checked.attestations.iter().map(Into::into).collect(),
    });
    Ok(Some(checked))
}

/// The signature of a model by the first of those who are trusted that it verifies with; else the finding
/// that it is of none, of which the last says why.
fn opened(bundle: &[u8], trusted: &[Trust]) -> Result<(Opened, Trust, Manifest), Box<Finding>> {
    let invalid = |error: &dyn std::error::Error| {
        let message = format!("the signature cannot be used: {error}");
        Box::new(Finding::new("signature/bundle-invalid", message.replace(['\n', '\r'], " ")))
    };
    let (now, nobody) = (jiff::Timestamp::now(), Trust::Roots(Vec::new()));
    let open =
        |trust: &Trust| signing::open(bundle, trust, now).map(|opened| (opened, trust.clone()));
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

impl Checked {
    fn read_attestations(
        &mut self,
        args: &SignatureArgs,
        path: &Path,
        trust: &Trust,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let lines = match args.attestations.is_none() && path.symlink_metadata().is_err() {
            true => Default::default(),
            false => keys::read_small(path, attestation::MAX_FILE)?,
        };
        let lines: Vec<&[u8]> =
            lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let name = output::file_name(path);
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
                Ok(attestation) => self.attestations.push(attestation),
                Err(error) => refuse(format!("attestation {number} is not used: {error:#}")),
            }
        }
        Ok(())
    }

    fn attestation(&self, line: &[u8], trust: &Trust) -> anyhow::Result<Attestation> {
        let opened = signing::open(line, trust, jiff::Timestamp::now())?;
        if opened.signer != self.signer {
            return Err(anyhow!("it is signed by another than the model, {}", opened.signer));
        }
        let statement = Statement::parse(&opened.statement)?;
        Ok(Attestation::of(statement, self.manifest.root)?)
    }

    /// Whether it was made with git's own files at the top: they are then part of what is checked.
    pub fn lists_git_paths(&self) -> bool {
        let git = |name: &str| GIT_NAMES.contains(&name.split('/').next().unwrap_or_default());
        self.manifest.resources.iter().any(|resource| git(&resource.name))
    }

    /// Whether hashing all files of the model in its shards would give more digests than the signature has.
    pub fn is_overlong(&self, model: &Checkpoint) -> bool {
        let digests = |file: &ModelFile| self.manifest.hashing.digests(file.bytes);
        let all = model.files.iter().map(digests).fold(0, u64::saturating_add);
        all > (self.manifest.resources.len() + model.files.len()) as u64
    }

    /// Hashes the files that were signed, and nothing else.
    pub fn hash(
        &self,
        model: &Checkpoint,
        options: &RunOptions,
        progress: &Progress,
    ) -> Result<(Vec<Option<FileDigests>>, RunReport), Failure> {
        let wanted = signature::to_hash(model, &self.manifest);
        let files: Vec<ModelFile> =
            wanted.iter().map(|index| model.files[*index].clone()).collect();
        let mut run = engine::hash_files(&files, &[self.manifest.hashing], options, progress)
            .map_err(running::failure)?;
        let mut digests = vec![None; model.files.len()];
        for (index, found) in wanted.into_iter().zip(std::mem::take(&mut run.file_digests)) {
            digests[index] = found;
        }
        Ok((digests, run))
    }

    /// Compares the model with what was signed; `digests` are by file of the model.
    pub fn compare(
        &self,
        model: &Checkpoint,
        digests: &[Option<FileDigests>],
        (args, opening): (&SignatureArgs, &Opening),
        report: &mut Report,
    ) -> Result<Outcome, Failure> {
        let outcome = signature::judge(&Signed {
            model,
            manifest: &self.manifest,
            digests,
            allow_symlinks: opening.allow_symlinks,
            ignore_unsigned_files: args.ignore_unsigned_files,
            ignore_paths: &places::ignored(&model.path, &args.ignore_path)?,
        });
        // Something that is beside the seal is not beside the signature.
        report.coverage.not_covered.retain(|entry| !entry.kind.is_beside());
        report.coverage.not_covered.extend(outcome.not_covered.iter().cloned());
        for kind in args.require_attestation.iter().map(|facts| facts.kind()) {
            if !self.attestations.iter().any(|attestation| attestation.kind == kind) {
                let message = format!("no attestation of kind {} was signed", kind.name());
                report.findings.push(Finding::new("signature/attestation-missing", message));
            }
        }
        Ok(outcome)
    }

    /// Holds what the signer states besides to what was measured of `model`, and notes in the report when
    /// the seal that was read from `place` is signed.
    pub fn vouch(
        &self,
        files: &Outcome,
        (model, place): (&Path, &Path),
        root: &str,
        report: &mut Report,
    ) {
        let used = report.seal.as_ref().and_then(|seal| seal.digest.clone());
        self.hold_to(files, root, used.as_deref(), report);
        if let (Some(seal), Some(digest)) = (&mut report.seal, used)
            && self.covers_seal(model, place, &digest, files)
        {
            seal.signed_by = Some(self.signer.to_string());
        }
    }

    /// Holds what was attested to what was measured. Where the files are not as they were signed, another
    /// root is no news.
    fn hold_to(&self, files: &Outcome, root: &str, seal: Option<&str>, report: &mut Report) {
        let mut differs = |message: String| {
            report.findings.push(Finding::new("signature/attestation-differs", message));
        };
        for attestation in &self.attestations {
            let (kind, facts) = (attestation.kind.name(), &attestation.facts);
            if facts.model_root != root && files.is_intact() {
                differs(format!(
                    "attested ({kind}) is the root {}, found {root}",
                    facts.model_root
                ));
            }
            if let (Kind::Seal, Some(seal), Some(attested)) =
                (attestation.kind, seal, facts.document.as_deref())
                && seal != attested
            {
                differs(format!("attested is the seal {attested}, and {seal} is used"));
            }
        }
    }

    /// Whether the signer vouches for a seal: it is attested, or a file that is signed and intact.
    pub fn covers_seal(&self, model: &Path, seal: &Path, digest: &str, intact: &Outcome) -> bool {
        let attested = self.attestations.iter().any(|attestation| {
            attestation.kind == Kind::Seal && attestation.facts.document.as_deref() == Some(digest)
        });
        attested || self.lists(model, seal, digest, intact)
    }

    /// The bytes that were read as the seal must be those that were signed: a file may have been replaced
    /// between two readings.
    fn lists(&self, model: &Path, seal: &Path, digest: &str, intact: &Outcome) -> bool {
        let Some(path) = running::relative(model, seal) else { return false };
        let listed = self.manifest.resources.iter().find(|resource| resource.name == path);
        let (Some(listed), None) = (listed, self.manifest.hashing.shard) else { return false };
        let hashes = [HashAlgorithm::Blake3, self.manifest.hashing.algorithm];
        let Ok([blake3, signed]) = digests(seal, hashes) else { return false };
        intact.intact.contains(&path)
            && format!("blake3:{}", hex(&blake3)) == digest
            && signed == listed.digest
    }
}

/// The digests of a small file, of one reading.
fn digests<const N: usize>(path: &Path, hashes: [HashAlgorithm; N]) -> io::Result<[Vec<u8>; N]> {
    let mut hashers = hashes.map(|hash| Hasher::new(hash, 0));
    let mut file = small::open_regular(path)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hashers.map(Hasher::finish)),
            len => hashers.iter_mut().for_each(|hasher| hasher.update(&piece[..len])),
        }
    }
}

/// Who signed what, for people.
pub fn summary(out: &mut dyn Write, palette: Palette, report: &Report) -> io::Result<()> {
    let Some(used) = &report.signature else { return Ok(()) };
    writeln!(out, "signature {}", used.source)?;
    let (Some(signer), Some(signed)) = (&used.signer, &used.signed) else { return Ok(()) };
    writeln!(out, "signed by {}", palette.bold(&signer.to_string()))?;
    let shards = signed.shard_size.map(|size| format!(" in shards of {size} bytes"));
    let listed = if shards.is_some() { "shard" } else { "file" };
    let line = format!(
        "{}, {}{}",
        count(signed.resources, listed),
        signed.hash,
        shards.unwrap_or_default()
    );
    writeln!(out, "          {}", palette.dim(&line))?;
    for attestation in &used.attestations {
        let (kind, at) = (attestation.kind.name(), attestation.signed_at);
        writeln!(out, "attested  {kind}, {at} by the signer's clock")?;
    }
    Ok(())
}
