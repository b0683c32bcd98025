//! Attestations: signed statements about a model other than the manifest of its files.
//!
//! The predicate of a model signature has no members for other predicate. Each attestation is therefore a separate
//! statement (in-toto Attestation Framework 1.0) about the same subject digest, in a separate bundle that is signed
//! with the same key. The bundles of a model are the lines of one sidecar next to its signature (JSON Lines).

use super::statement::Statement;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The suffix that is appended to the name of a signature file to give the name of its attestations.
pub const SUFFIX: &str = ".attestations.jsonl";

/// The longest attestations file that is read, in bytes.
pub const MAX_FILE: u64 = 64 << 20;

/// The largest number of attestations in a file.
pub const MAX_ATTESTATIONS: usize = 64;

/// The kind of fact that an attestation states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttestationKind {
    /// The seal of the model.
    Seal,
    /// The findings of an audit.
    Audit,
    /// The claim of a watermark.
    WatermarkClaim,
}

impl AttestationKind {
    /// All kinds.
    pub const ALL: [AttestationKind; 3] = [Self::Seal, Self::Audit, Self::WatermarkClaim];

    /// Returns the name of the kind in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Audit => "audit",
            Self::WatermarkClaim => "watermark-claim",
        }
    }

    /// Returns the predicate type: a URI that is a name, not an address.
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::Seal => "https://tensorseal/seal/v1",
            Self::Audit => "https://tensorseal/audit/v1",
            Self::WatermarkClaim => "https://tensorseal/watermark-claim/v1",
        }
    }
}

/// The predicate of an attestation of any kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationPredicate {
    /// The root of the model: `blake3:` and 64 hexadecimal digits.
    pub model_root: String,
    /// The time of the signature by the clock of the signer (RFC 3339). No timestamp authority confirms it.
    pub signed_at: jiff::Timestamp,
    /// The name and version of the program that signed.
    pub tool: String,
    /// The digest of the attested seal or claim: `blake3:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// The findings of the attested audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AttestedAudit>,
}

/// The result of an audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestedAudit {
    /// The version of the rules.
    pub rules: String,
    /// The number of findings by severity and rule.
    pub findings: BTreeMap<String, BTreeMap<String, u64>>,
}

/// A parsed attestation.
#[derive(Debug, Clone, PartialEq)]
pub struct Attestation {
    /// The kind of the attestation.
    pub kind: AttestationKind,
    /// The predicate that it states.
    pub predicate: AttestationPredicate,
}

/// An error of a statement that is not an attestation of the given model.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// The statement is about another subject.
    #[error("the attestation is about another model: its subject is {found}, not {expected}")]
    OtherSubject {
        /// The digest of its subject, in hexadecimal.
        found: String,
        /// The digest of the subject of the signature, in hexadecimal.
        expected: String,
    },
    /// The predicate type is not supported.
    #[error("unsupported predicate type {0:?}")]
    UnknownType(String),
    /// The predicate does not have the form that its type demands.
    #[error("malformed predicate: {0}")]
    Predicate(String),
}

impl Attestation {
    /// Returns the statement to sign, about the subject of a model signature.
    pub fn statement(&self, subject: &str, digest: [u8; 32]) -> Statement {
        // The predicate has strings, numbers and maps with string keys only: this cannot fail.
        let predicate = serde_json::to_value(&self.predicate).unwrap_or_default();
        Statement {
            subject: subject.to_owned(),
            sha256: digest,
            predicate_type: self.kind.predicate_type().to_owned(),
            predicate,
        }
    }

    /// Reads an attestation from a statement whose signature was verified. Its subject must have the SHA-256 `digest`.
    ///
    /// # Errors
    /// Returns [`AttestationError::UnknownType`] if the predicate type is not supported,
    /// [`AttestationError::OtherSubject`] if the subject has another digest, and [`AttestationError::Predicate`] if the
    /// predicate is malformed.
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
        let predicate: AttestationPredicate = serde_json::from_value(statement.predicate)
            .map_err(|error| AttestationError::Predicate(error.to_string()))?;
        let malformed = |what: &str| Err(AttestationError::Predicate(what.to_owned()));
        match kind {
            AttestationKind::Audit if predicate.audit.is_none() => malformed("`audit` is missing"),
            AttestationKind::Seal | AttestationKind::WatermarkClaim
                if predicate.document.is_none() =>
            {
                malformed("`document` is missing")
            }
            _ => Ok(Self { kind, predicate }),
        }
    }
}
