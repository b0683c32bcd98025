//! The policy of a gate: what must be true of a model before it is deployed.
//!
//! A policy is a TOML document, [`SCHEMA`], that people write and keep under version control.
//! [`Policy::parse`] takes nothing on trust: an unknown key, a value that means nothing and a
//! requirement that this build cannot check are errors with line, column and the path of the key, for a
//! requirement that is passed over in silence is one that an attacker has won. What each key means is said in [`DEFAULT`],
//! which `tensorseal gate --print-policy` prints. [`gate`] judges by a policy, without I/O.

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

/// Schema name of a policy.
pub const SCHEMA: &str = "tensorseal.policy/1";

/// Largest policy that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// A policy with every key, each explained.
pub const DEFAULT: &str = include_str!("default.toml");

/// What must be true of a model. All paths are as they are written: relative to the policy's directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// What reports call it.
    pub name: Option<String>,
    /// `code`: what of the model a loader may execute.
    pub code: CodeAllowed,
    /// `[signature]`
    pub signature: SignaturePolicy,
    /// `[seal]`
    pub seal: SealPolicy,
    /// `[attestations]`
    pub attestations: AttestationPolicy,
    /// `[registry]`
    pub registry: RegistryPolicy,
    /// `[coverage] allow`: paths that nobody needs to have measured, or to understand.
    pub unmeasured: Vec<Pattern>,
    /// `[files] unknown`
    pub unknown: UnknownFiles,
    /// `[formats] allowed`: [names](formats) of formats; `None`: any.
    pub formats: Option<Vec<&'static str>>,
    /// `[dtypes] allowed`; `None`: any.
    pub dtypes: Option<Vec<Dtype>>,
    /// `[audit] required`
    pub audit: bool,
    /// `[severity]`, in order of the areas.
    pub severity: Vec<(Area, Limit)>,
    /// `[[watermark]]`
    pub watermarks: Vec<WatermarkPolicy>,
    /// `[[allow]]`
    pub exceptions: Vec<Exception>,
}

/// `[signature]`: who must have signed the model, and what the signature must cover.
#[derive(Debug, Clone, PartialEq)]
pub struct SignaturePolicy {
    /// Whether there must be one.
    pub required: bool,
    /// Files of public keys, PEM.
    pub keys: Vec<PathBuf>,
    /// Files of certificates that chains must end in, PEM.
    pub roots: Vec<PathBuf>,
    /// Who of those may sign; empty: each of them.
    pub identities: Vec<Pattern>,
    /// Hash functions that the signed manifest may use.
    pub hash: Vec<HashAlgorithm>,
    /// Paths that the signed manifest may leave out.
    pub allow_ignored_paths: Vec<Pattern>,
    /// Whether files may be there that the manifest does not list.
    pub allow_unsigned_files: bool,
    /// Whether links out of the model are followed.
    pub allow_symlinks: bool,
}

impl SignaturePolicy {
    /// Whether somebody's signature is asked for or, where there is one, checked.
    pub fn is_active(&self) -> bool {
        self.required || !self.keys.is_empty() || !self.roots.is_empty()
    }
}

/// `[seal]`: what the model is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealPolicy {
    /// Whether there must be a seal.
    pub required: bool,
    /// Whether the seal counts only when somebody of `[signature]` signed it.
    pub signed: bool,
    /// Model roots (`blake3:…`), one of which this model must have; empty: any.
    pub expect_root: Vec<String>,
    /// Digests (`blake3:…`), one of which the seal must have; empty: any.
    pub expect_digest: Vec<String>,
}

impl SealPolicy {
    /// Whether a seal must be there.
    pub fn is_required(&self) -> bool {
        self.required || !self.expect_digest.is_empty()
    }
}

/// `[attestations]`: signed statements about the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationPolicy {
    /// Kinds that must be there.
    pub required: Vec<AttestationKind>,
    /// How old they may be.
    pub max_age: Option<Age>,
}

/// `[registry]`: what scans of registries recorded of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryPolicy {
    /// Whether a scan must have found the model as it was accepted, with the content that it has now.
    pub required: bool,
    /// How long ago every byte of it may have been read by a scan.
    pub max_age: Option<Age>,
}

/// `[[watermark]]`: a mark that must be there, or must not.
#[derive(Debug, Clone, PartialEq)]
pub struct WatermarkPolicy {
    /// File of the key.
    pub key: PathBuf,
    /// File of the claim that the key must open.
    pub claim: Option<PathBuf>,
    /// What is expected.
    pub expect: ExpectedPresence,
    /// Where it is expected: largest decimal logarithm of the probability of chance.
    pub max_log10_p: f64,
}

/// `[[allow]]`: findings that somebody has looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// The rule, exactly.
    pub rule: &'static str,
    /// Only in files whose path matches.
    pub file: Option<Pattern>,
    /// Only in tensors whose name matches.
    pub tensor: Option<Pattern>,
    /// Only in files of this content: `blake3:` and the digest of the whole file.
    pub digest: Option<String>,
    /// Why.
    pub reason: String,
    /// The last day on which it counts, in UTC.
    pub expires: Date,
}

impl Policy {
    /// Reads a policy from its text.
    ///
    /// # Errors
    /// The first thing that is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        check::policy(text)
    }

    /// Whether the weights are to be audited: it is required, or there is a limit on what only an audit
    /// finds.
    pub fn wants_audit(&self) -> bool {
        let needs = |area| matches!(area, Area::Weights | Area::Payload | Area::Lineage);
        self.audit || self.severity.iter().any(|(area, _)| needs(*area))
    }

    /// Whether something is asked of the weights: of a model without any there is then nothing to judge, and
    /// weights that nobody can look into are not passed over.
    pub fn wants_weights(&self) -> bool {
        self.wants_audit() || self.dtypes.is_some() || !self.watermarks.is_empty()
    }

    /// Whether something depends on which files somebody who is trusted vouches for.
    pub fn wants_pins(&self) -> bool {
        self.code == CodeAllowed::Pinned || self.unknown == UnknownFiles::Pinned
    }

    /// Whether the digests of whole files are needed, also of files of tensors.
    pub fn wants_digests(&self) -> bool {
        self.exceptions.iter().any(|exception| exception.digest.is_some())
    }
}

#[cfg(test)]
mod tests;
