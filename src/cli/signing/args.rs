//! Arguments of signatures, of those who make them and of those who check them.

use crate::cli::Failure;
use crate::cli::args::{Common, MeasurementArgs, OpenArgs};
use crate::signing::attestation::AttestationKind;
use crate::stream::hashing::HashAlgorithm;
use crate::verbs::{SignatureOptions, trust};
use clap::{Args, ValueEnum};
use std::num::NonZeroU64;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// A file or a directory
    pub model: PathBuf,
    #[command(flatten)]
    pub signer: SignerArgs,
    /// Where to write the bundle (default: MODEL/model.sig, or MODEL.sig beside a file)
    #[arg(short, long, value_name = "BUNDLE")]
    pub output: Option<PathBuf>,
    /// The hash function: sha256, which every client reads; blake2b, blake3, which not every client does
    #[arg(long, value_name = "HASH", default_value = "sha256", value_parser = hash)]
    pub hash: HashAlgorithm,
    /// Hash files in shards of so many bytes; not every client reads such a signature
    #[arg(long, value_name = "BYTES")]
    pub shard_size: Option<NonZeroU64>,
    /// A file or directory of the model that is not signed; the signature says so (repeatable)
    #[arg(long, value_name = "PATH")]
    pub ignore_path: Vec<PathBuf>,
    /// Also sign facts of the model, beside the bundle: its seal, what an audit finds, the claim of a
    /// watermark (repeatable)
    #[arg(long, value_name = "FACTS")]
    pub attest: Vec<AttestedFact>,
    /// The seal to attest (default: where `seal` writes it)
    #[arg(long, value_name = "SEAL")]
    pub seal: Option<PathBuf>,
    /// The claim to attest
    #[arg(long, value_name = "CLAIM")]
    pub claim: Option<PathBuf>,
    /// Sign files that are malformed as checkpoints, too
    #[arg(long)]
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
pub(crate) struct SignerArgs {
    /// The private key, PEM (PKCS#8 or SEC1): P-256, P-384 or P-521
    #[arg(long, value_name = "PEM")]
    pub key: PathBuf,
    /// A file whose first line is the passphrase of the key (default: it is asked for)
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// The certificate of the key, PEM: verified with --ca instead of --public-key
    #[arg(long, value_name = "PEM")]
    pub cert: Option<PathBuf>,
    /// Certificates between it and the root, PEM (repeatable)
    #[arg(long, value_name = "PEM", requires = "cert")]
    pub chain: Vec<PathBuf>,
}

/// A signature to check, and whom to trust.
#[derive(Debug, Args)]
pub(crate) struct SignatureArgs {
    /// The signature to check: an OpenSSF Model Signing bundle
    #[arg(long, value_name = "BUNDLE", requires = "trust")]
    pub signature: Option<PathBuf>,
    /// The public key that is trusted, PEM
    #[arg(long, value_name = "PEM", requires = "signature", group = "trust")]
    pub public_key: Option<PathBuf>,
    /// Root certificates that are trusted, PEM (repeatable)
    #[arg(
        long,
        value_name = "PEM",
        requires = "signature",
        group = "trust",
        conflicts_with = "public_key"
    )]
    pub ca: Vec<PathBuf>,
    /// Pass although files lie in the model that were not signed
    #[arg(long, requires = "signature")]
    pub ignore_unsigned_files: bool,
    /// A file or directory of the model that may be there unsigned (repeatable)
    #[arg(long, value_name = "PATH", requires = "signature")]
    pub ignore_path: Vec<PathBuf>,
    /// The attestations signed with the model (default: those beside the bundle, if any)
    #[arg(long, value_name = "FILE", requires = "signature")]
    pub attestations: Option<PathBuf>,
    /// Facts that must have been signed: seal, audit, watermark-claim (repeatable)
    #[arg(long, value_name = "FACTS", requires = "signature")]
    pub require_attestation: Vec<AttestedFact>,
}

impl SignatureArgs {
    /// What is to be checked, with keys and certificates read.
    pub(crate) fn options(&self) -> Result<Option<SignatureOptions>, Failure> {
        let Some(bundle) = &self.signature else { return Ok(None) };
        let trust = match &self.public_key {
            Some(key) => trust::read_key(key)?,
            None => trust::read_roots(&self.ca)?,
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
    /// What an audit finds, now
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
