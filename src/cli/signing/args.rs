//! Arguments of signatures, of those who make them and of those who check them.

use crate::cli::Failure;
use crate::cli::args::{Common, MeasurementArgs, OpenArgs};
use crate::cli::heading;
use anyhow::anyhow;
use clap::{Args, ValueEnum};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use tensorseal_core::verbs::locations::default_bundle;
use tensorseal_core::verbs::{SignatureOptions, trust};
use tensorseal_engine::stream::hashing::HashAlgorithm;
use tensorseal_signing::attestation::AttestationKind;

#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// Model file or directory
    pub model: PathBuf,
    #[command(flatten)]
    pub signer: SignerArgs,
    /// Signature bundle to write [default: MODEL/model.sig, or MODEL.sig for a single file]
    #[arg(short, long, value_name = "BUNDLE")]
    pub output: Option<PathBuf>,
    /// Hash function: sha256, or blake2b or blake3, which not every client supports
    #[arg(long, value_name = "HASH", default_value = "sha256", value_parser = hash, help_heading = heading::SIGNATURE)]
    pub hash: HashAlgorithm,
    /// Hash files in shards of this size, which not every client supports
    #[arg(long, value_name = "BYTES", help_heading = heading::SIGNATURE)]
    pub shard_size: Option<NonZeroU64>,
    /// File or directory of the model to leave unsigned; the signature lists it (repeatable)
    #[arg(long, value_name = "PATH", help_heading = heading::SIGNATURE)]
    pub ignore_path: Vec<PathBuf>,
    /// Also sign an attestation: seal, audit or watermark-claim (repeatable)
    #[arg(long, value_name = "KIND", help_heading = heading::SIGNATURE)]
    pub attest: Vec<AttestedFact>,
    /// Seal to attest [default: MODEL/tensorseal.seal.json, or MODEL.seal.json for a single file]
    #[arg(long, value_name = "SEAL", help_heading = heading::SIGNATURE)]
    pub seal: Option<PathBuf>,
    /// Watermark claim to attest
    #[arg(long, value_name = "CLAIM", help_heading = heading::SIGNATURE)]
    pub claim: Option<PathBuf>,
    /// Sign the model even if its files are malformed
    #[arg(long, help_heading = heading::MODEL)]
    pub allow_malformed: bool,
    #[command(flatten)]
    pub opening: OpenArgs,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    #[command(flatten)]
    pub common: Common,
}

/// Who signs.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::SIGNATURE)]
pub(crate) struct SignerArgs {
    /// Private key, PEM (PKCS#8 or SEC1): P-256, P-384 or P-521
    #[arg(long, value_name = "PEM")]
    pub key: PathBuf,
    /// File whose first line is the passphrase of the key [default: prompt for it]
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Certificate of the key, PEM; the signature is then verified with --ca instead of --public-key
    #[arg(long, value_name = "PEM")]
    pub cert: Option<PathBuf>,
    /// Intermediate certificates between --cert and the root, PEM (repeatable)
    #[arg(long, value_name = "PEM", requires = "cert")]
    pub chain: Vec<PathBuf>,
}

/// A signature to check, and whom to trust.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::SIGNATURE)]
pub(crate) struct SignatureArgs {
    /// Signature to verify: an OpenSSF Model Signing bundle [default with --public-key or --ca:
    /// MODEL/model.sig, or MODEL.sig for a single file]
    #[arg(long, value_name = "BUNDLE", requires = "trust")]
    pub signature: Option<PathBuf>,
    /// Trusted public key, PEM
    #[arg(long, value_name = "PEM", group = "trust")]
    pub public_key: Option<PathBuf>,
    /// Trusted root certificates, PEM (repeatable)
    #[arg(long, value_name = "PEM", group = "trust", conflicts_with = "public_key")]
    pub ca: Vec<PathBuf>,
    /// Allow files in the model that were not signed
    #[arg(long, requires = "trust")]
    pub ignore_unsigned_files: bool,
    /// File or directory of the model that need not be signed (repeatable)
    #[arg(long, value_name = "PATH", requires = "trust")]
    pub ignore_path: Vec<PathBuf>,
    /// Attestations that were signed with the model [default: BUNDLE.attestations.jsonl, if it
    /// exists]
    #[arg(long, value_name = "FILE", requires = "trust")]
    pub attestations: Option<PathBuf>,
    /// Require this attestation: seal, audit or watermark-claim (repeatable)
    #[arg(long, value_name = "KIND", requires = "trust")]
    pub require_attestation: Vec<AttestedFact>,
}

/// The signature where `sign` writes it.
fn default_signature(model: &Path) -> Result<PathBuf, Failure> {
    let bundle = default_bundle(model);
    if bundle.symlink_metadata().is_ok() {
        return Ok(bundle);
    }
    Err(Failure::usage(anyhow!(
        "no signature at {}: get it from the publisher and name it with --signature, or create one with `tensorseal sign`",
        bundle.display()
    )))
}

impl SignatureArgs {
    /// What must be checked, with keys and certificates read. Trust in someone implies a signature: the one that is
    /// named, or else the one where `sign` writes it.
    pub(crate) fn options(&self, model: &Path) -> Result<Option<SignatureOptions>, Failure> {
        let trust = match &self.public_key {
            Some(key) => trust::read_key(key)?,
            None if self.ca.is_empty() => return Ok(None),
            None => trust::read_roots(&self.ca)?,
        };
        let bundle = match &self.signature {
            Some(bundle) => bundle.clone(),
            None => default_signature(model)?,
        };
        Ok(Some(SignatureOptions {
            attestations: self.attestations.clone(),
            require_attestations: self.require_attestation.iter().map(|f| f.kind()).collect(),
            ignore_unsigned_files: self.ignore_unsigned_files,
            ignore_paths: self.ignore_path.clone(),
            ..SignatureOptions::new(bundle, trust)
        }))
    }
}

/// What can be attested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AttestedFact {
    /// The seal of the model
    Seal,
    /// The findings of an audit
    Audit,
    /// The claim of a watermark
    WatermarkClaim,
}

impl AttestedFact {
    /// As the library knows it.
    pub(crate) fn kind(self) -> AttestationKind {
        match self {
            AttestedFact::Seal => AttestationKind::Seal,
            AttestedFact::Audit => AttestationKind::Audit,
            AttestedFact::WatermarkClaim => AttestationKind::WatermarkClaim,
        }
    }
}

fn hash(text: &str) -> Result<HashAlgorithm, String> {
    HashAlgorithm::from_name(text).ok_or_else(|| "expected sha256, blake2b or blake3".to_owned())
}
