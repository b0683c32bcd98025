//! The signature of a report: what was signed, by whom, and what else the signer states.

use serde::Serialize;
use tensorseal_signing::attestation::{Attestation, AttestationKind, AttestedAudit};
use tensorseal_signing::{Manifest, Signer};

/// The signature that was made or checked.
#[derive(Debug, Clone, Serialize)]
pub struct SignatureUsed {
    /// Where its bundle is.
    pub source: String,
    /// Who signed, if that is who is trusted; null: nobody who is.
    pub signer: Option<Signer>,
    /// What was signed; null where that could not be read, or must not be.
    pub signed: Option<SignedModel>,
    /// What else was signed of the model.
    pub attestations: Vec<AttestationUsed>,
}

/// The model of a signature.
#[derive(Debug, Clone, Serialize)]
pub struct SignedModel {
    /// Its name, as the signer put it.
    pub name: String,
    /// SHA-256 over the digests of all files: the subject of the statement.
    pub sha256: String,
    /// Type of the predicate.
    pub predicate_type: String,
    /// Hash function of the files.
    pub hash: &'static str,
    /// Bytes of a shard; null: files are hashed whole.
    pub shard_size: Option<u64>,
    /// Files, or shards of files, that are listed.
    pub resources: u64,
    /// Paths that the signature ignores.
    pub ignore_paths: Vec<String>,
}

/// An attestation that was made or checked.
#[derive(Debug, Clone, Serialize)]
pub struct AttestationUsed {
    /// What it is about.
    pub kind: AttestationKind,
    /// Root of the model that it states.
    pub model_root: String,
    /// When it was signed, by the signer's clock.
    pub signed_at: jiff::Timestamp,
    /// The document it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// What the audit found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<AttestedAudit>,
}

impl SignatureUsed {
    /// A bundle of which nothing is known yet.
    pub fn unknown(source: String) -> Self {
        Self { source, signer: None, signed: None, attestations: Vec::new() }
    }
}

impl SignedModel {
    /// As a signature lists it.
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
