//! The signature part of a report: what was signed, by whom, and the attestations of the signer.

use serde::Serialize;
use tensorseal_signing::attestation::{Attestation, AttestationKind, AttestedAudit};
use tensorseal_signing::{Manifest, Signer};

/// The signature that a command created or verified.
#[derive(Debug, Clone, Serialize)]
pub struct SignatureUsed {
    /// The path or URI of the bundle.
    pub source: String,
    /// The trusted signer; null if there is none.
    pub signer: Option<Signer>,
    /// The signed model; null if the statement could not be read or must not be believed.
    pub signed: Option<SignedModel>,
    /// The attestations about the model.
    pub attestations: Vec<AttestationUsed>,
}

/// The model that a signature covers.
#[derive(Debug, Clone, Serialize)]
pub struct SignedModel {
    /// The name of the model that the signer stated.
    pub name: String,
    /// The SHA-256 over the digests of all files, which is the subject of the statement.
    pub sha256: String,
    /// The predicate type of the statement.
    pub predicate_type: String,
    /// The hash function that the files were hashed with.
    pub hash: &'static str,
    /// The length of a hashed shard in bytes; null if files are hashed whole.
    pub shard_size: Option<u64>,
    /// The number of listed files or shards of files.
    pub resources: u64,
    /// The paths that the signature ignores.
    pub ignore_paths: Vec<String>,
}

/// An attestation that a command created or verified.
#[derive(Debug, Clone, Serialize)]
pub struct AttestationUsed {
    /// What the attestation is about.
    pub kind: AttestationKind,
    /// The model root that the attestation states.
    pub model_root: String,
    /// When the attestation was signed, by the signer's clock.
    pub signed_at: jiff::Timestamp,
    /// The document that the attestation is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// The result of the audit, in an attestation of an audit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<AttestedAudit>,
}

impl SignatureUsed {
    /// Creates the entry of a bundle at `source` that was not verified yet.
    pub fn unknown(source: String) -> Self {
        Self { source, signer: None, signed: None, attestations: Vec::new() }
    }
}

impl SignedModel {
    /// Creates the entry from the manifest of a signature.
    pub fn from_manifest(manifest: &Manifest) -> Self {
        Self {
            name: manifest.subject.clone(),
            sha256: tensorseal_base::hex::hex(&manifest.root),
            predicate_type: manifest.predicate_type.clone(),
            hash: manifest.hashing.algorithm.name(),
            shard_size: manifest.hashing.shard.map(Into::into),
            resources: manifest.resources.len() as u64,
            ignore_paths: manifest.ignore_paths.clone(),
        }
    }
}

impl From<&Attestation> for AttestationUsed {
    fn from(attestation: &Attestation) -> Self {
        let facts = &attestation.predicate;
        Self {
            kind: attestation.kind,
            model_root: facts.model_root.clone(),
            signed_at: facts.signed_at,
            document: facts.document.clone(),
            audit: facts.audit.clone(),
        }
    }
}
