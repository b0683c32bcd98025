//! Policies of a deployment gate: the requirements for a model, with exceptions.
//!
//! A policy is a TOML document, [`SCHEMA`], that people write and keep under version control. [`Policy::parse`] is
//! strict: an unknown key, a meaningless value and a requirement that this build cannot check are errors with line,
//! column and the path of the key, because a requirement that is silently ignored helps an attacker. [`DEFAULT`]
//! explains each key; `tensorseal gate --print-policy` prints it. [`gate`] judges by a policy, without I/O.

mod check;
mod document;
mod error;
mod file;
pub mod formats;
pub mod gate;
mod toml_position;
mod values;

pub use error::{PolicyError, PolicyReadError};
pub use file::PolicyFile;
pub use values::{Age, Area, CodeAllowed, Limit, Pattern, UnknownFiles};

use crate::judge::presence::ExpectedPresence;
use jiff::civil::Date;
use std::path::PathBuf;
use tensorseal_base::dtype::Dtype;
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_signing::attestation::AttestationKind;

/// The schema name of a policy.
pub const SCHEMA: &str = "tensorseal.policy/1";

/// The maximum length of a policy in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// An example policy that explains every key.
pub const DEFAULT: &str = include_str!("default.toml");

/// The requirements for a model. All paths are stored as written: relative to the directory of the policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The name of the policy in reports.
    pub name: Option<String>,
    /// `code`: which code a loader may execute.
    pub code: CodeAllowed,
    /// `[signature]`: who must have signed the model, and what the signature must cover.
    pub signature: SignaturePolicy,
    /// `[seal]`: the seal that the model is compared with.
    pub seal: SealPolicy,
    /// `[attestations]`: the required signed statements about the model.
    pub attestations: AttestationPolicy,
    /// `[registry]`: the required results of registry scans.
    pub registry: RegistryPolicy,
    /// `[coverage] allow`: paths that need not be measured or recognised.
    pub unmeasured: Vec<Pattern>,
    /// `[files] unknown`: how unrecognised files and programs are judged.
    pub unknown: UnknownFiles,
    /// `[formats] allowed`: the [names](formats) of the allowed formats; `None` allows any.
    pub formats: Option<Vec<&'static str>>,
    /// `[dtypes] allowed`: the allowed element types; `None` allows any.
    pub dtypes: Option<Vec<Dtype>>,
    /// `[audit] required`: whether an audit is required.
    pub audit: bool,
    /// `[severity]`: the limits, in order of the areas.
    pub severity: Vec<(Area, Limit)>,
    /// `[[watermark]]`: the expected and the unwanted marks.
    pub watermarks: Vec<WatermarkPolicy>,
    /// `[[allow]]`: the exceptions.
    pub exceptions: Vec<Exception>,
}

/// `[signature]`: who must have signed the model, and what the signature must cover.
#[derive(Debug, Clone, PartialEq)]
pub struct SignaturePolicy {
    /// Whether a signature is required.
    pub required: bool,
    /// PEM files of trusted public keys.
    pub keys: Vec<PathBuf>,
    /// PEM files of trusted root certificates.
    pub roots: Vec<PathBuf>,
    /// The identities that are authorised to sign; if empty, every trusted signer is.
    pub identities: Vec<Pattern>,
    /// The hash functions that the signed manifest may use.
    pub hash: Vec<HashAlgorithm>,
    /// The paths that the signed manifest may ignore.
    pub allow_ignored_paths: Vec<Pattern>,
    /// Whether files that the manifest does not list are allowed.
    pub allow_unsigned_files: bool,
    /// Whether links out of the model are followed.
    pub allow_symlinks: bool,
}

impl SignaturePolicy {
    /// Returns whether a signature is required, or is verified if there is one.
    pub fn is_active(&self) -> bool {
        self.required || !self.keys.is_empty() || !self.roots.is_empty()
    }
}

/// `[seal]`: the seal that the model is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealPolicy {
    /// Whether a seal is required.
    pub required: bool,
    /// Whether a signer of `[signature]` must have signed the seal.
    pub signed: bool,
    /// The allowed model roots (`blake3:…`); if empty, any root is.
    pub expect_root: Vec<String>,
    /// The allowed digests of the seal (`blake3:…`); if empty, any seal is.
    pub expect_digest: Vec<String>,
}

impl SealPolicy {
    /// Returns whether there must be a seal.
    pub fn is_required(&self) -> bool {
        self.required || !self.expect_digest.is_empty()
    }
}

/// `[attestations]`: signed statements about the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationPolicy {
    /// The required kinds.
    pub required: Vec<AttestationKind>,
    /// The maximum age.
    pub max_age: Option<Age>,
}

/// `[registry]`: the required results of registry scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryPolicy {
    /// Whether a scan must have found the model as it was accepted, with its current content.
    pub required: bool,
    /// The maximum age of the last deep check.
    pub max_age: Option<Age>,
}

/// `[[watermark]]`: a mark that must be present or absent.
#[derive(Debug, Clone, PartialEq)]
pub struct WatermarkPolicy {
    /// The key file.
    pub key: PathBuf,
    /// The file of the claim that the key must open.
    pub claim: Option<PathBuf>,
    /// Whether the mark is expected.
    pub expect: ExpectedPresence,
    /// For an expected mark, the largest decimal logarithm of the probability of a chance match.
    pub max_log10_p: f64,
}

/// `[[allow]]`: an exception for findings that someone has reviewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// The exact rule.
    pub rule: &'static str,
    /// If set, the exception applies only to files whose path matches.
    pub file: Option<Pattern>,
    /// If set, the exception applies only to tensors whose name matches.
    pub tensor: Option<Pattern>,
    /// If set, the exception applies only to files with this content: `blake3:` and the digest of the whole file.
    pub digest: Option<String>,
    /// The reason for the exception.
    pub reason: String,
    /// The last day on which the exception is valid, in UTC.
    pub expires: Date,
}

impl Policy {
    /// Parses a policy.
    ///
    /// # Errors
    /// Returns the first error in the text, with its position.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        check::policy(text)
    }

    /// Returns whether the weights must be audited: because it is required, or because a limit applies to findings that
    /// only an audit makes.
    pub fn wants_audit(&self) -> bool {
        let needs = |area| matches!(area, Area::Weights | Area::Payload | Area::Lineage);
        self.audit || self.severity.iter().any(|(area, _)| needs(*area))
    }

    /// Returns whether the policy has requirements for weights. If so, a model without weights cannot be judged, and
    /// weights that cannot be read fail the gate.
    pub fn wants_weights(&self) -> bool {
        self.wants_audit() || self.dtypes.is_some() || !self.watermarks.is_empty()
    }

    /// Returns whether the policy depends on which files a trusted party vouches for.
    pub fn wants_pins(&self) -> bool {
        self.code == CodeAllowed::Pinned || self.unknown == UnknownFiles::Pinned
    }

    /// Returns whether the digests of whole files are needed, including files with tensors.
    pub fn wants_digests(&self) -> bool {
        self.exceptions.iter().any(|exception| exception.digest.is_some())
    }
}

#[cfg(test)]
mod tests;
