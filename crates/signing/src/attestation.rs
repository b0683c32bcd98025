//! Attestations: what a signer states of a model besides its files.
//!
//! The predicate of a model signature has no place for other facts, so each is a statement of its own
//! (in-toto Attestation Framework 1.0) about the same subject digest, in a bundle of its own, signed
//! with the same key. The bundles of a model are lines of one file beside its signature (JSON Lines).

use super::statement::Statement;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What follows the name of a signature in that of its attestations.
pub const SUFFIX: &str = ".attestations.jsonl";

/// The longest file of attestations that is read.
pub const MAX_FILE: u64 = 64 << 20;

/// The most attestations that a file may hold.
pub const MAX_ATTESTATIONS: usize = 64;

/// What an attestation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttestationKind {
    /// The seal of the model.
    Seal,
    /// What an audit found.
    Audit,
    /// The claim of a watermark.
    WatermarkClaim,
}

impl AttestationKind {
    /// All of them.
    pub const ALL: [AttestationKind; 3] = [Self::Seal, Self::Audit, Self::WatermarkClaim];

    /// Its name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Audit => "audit",
            Self::WatermarkClaim => "watermark-claim",
        }
    }

    /// The predicate type: a name, not an address.
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::Seal => "https://tensorseal/seal/v1",
            Self::Audit => "https://tensorseal/audit/v1",
            Self::WatermarkClaim => "https://tensorseal/watermark-claim/v1",
        }
    }
}

/// The predicate of every kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationPredicate {
    /// Root of the model, `blake3:` and 64 hexadecimal digits.
    pub model_root: String,
    /// When it was signed, by the signer's own clock (RFC 3339). Nobody else vouches for it.
    pub signed_at: jiff::Timestamp,
    /// Name and version of the program.
    pub tool: String,
    /// Of a seal or a claim: `blake3:` and the digest of the document's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Of an audit: what it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AttestedAudit>,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestedAudit {
    /// Version of the rules.
    pub rules: String,
    /// Findings by severity and rule: how many.
    pub findings: BTreeMap<String, BTreeMap<String, u64>>,
}

/// An attestation that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Attestation {
    /// What it is about.
    pub kind: AttestationKind,
    /// What it states.
    pub predicate: AttestationPredicate,
}

/// A statement is not an attestation of the model at hand.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// It is about something else.
    #[error("it is about another model: its subject is {found}, the signature's {expected}")]
    OtherSubject {
        /// Digest of its subject.
        found: String,
        /// That of the signature.
        expected: String,
    },
    /// Its predicate type is not one of ours.
    #[error("its predicate type {0:?} is not known here")]
    UnknownType(String),
    /// Its predicate is not one of its type.
    #[error("its predicate is not one of its type: {0}")]
    Predicate(String),
}

impl Attestation {
    /// The statement to sign, about the subject of a model signature.
    pub fn statement(&self, subject: &str, digest: [u8; 32]) -> Statement {
        // Facts are strings, numbers and maps of strings: they always become JSON.
        let predicate = serde_json::to_value(&self.predicate).unwrap_or_default();
        Statement {
            subject: subject.to_owned(),
            sha256: digest,
            predicate_type: self.kind.predicate_type().to_owned(),
            predicate,
        }
    }

    /// Reads a statement whose signature was verified, about the subject `digest`.
    ///
    /// # Errors
    /// See [`AttestationError`].
    pub fn from_statement(
        statement: Statement,
        digest: [u8; 32],
    ) -> Result<Self, AttestationError> {
        let kind = AttestationKind::ALL
            .into_iter()
            .find(|k| k.predicate_type() == statement.predicate_type);
        let Some(kind) = kind else {
            let shown = statement.predicate_type.chars().take(120).collect();
            return Err(AttestationError::UnknownType(shown));
        };
        if statement.sha256 != digest {
            let hex = |digest: &[u8]| tensorseal_base::hex::hex(digest);
            let (found, expected) = (hex(&statement.sha256), hex(&digest));
            return Err(AttestationError::OtherSubject { found, expected });
        }
        let facts: AttestationPredicate = serde_json::from_value(statement.predicate)
            .map_err(|error| AttestationError::Predicate(error.to_string()))?;
        let wrong = |what: &str| Err(AttestationError::Predicate(what.to_owned()));
        match kind {
            AttestationKind::Audit if facts.audit.is_none() => wrong("`audit` is missing"),
            AttestationKind::Seal | AttestationKind::WatermarkClaim if facts.document.is_none() => {
                wrong("`document` is missing")
            }
            _ => Ok(Self { kind, predicate: facts }),
        }
    }
}
