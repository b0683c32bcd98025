//! The evidence that a policy judges: plain values, each of which may be missing with a reason.

use crate::judge::watermark::Detection;
use crate::judge::{Finding, Severity};
use crate::record::ModelState;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_code::CodeReport;
use tensorseal_format::{Checkpoint, FileContent, ModelFile, SkippedPath};
use tensorseal_signing as signing;
use tensorseal_signing::attestation::{AttestationKind, AttestedAudit};

/// An observed value, or the reason why it was not observed. An unknown value can therefore not pass as a good one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation<T> {
    /// The observed value.
    Observed(T),
    /// The reason why the value was not observed.
    NotObserved(String),
}

impl<T> Observation<T> {
    /// Returns an observation that was not made.
    pub fn not_examined() -> Self {
        Self::NotObserved("not examined".to_owned())
    }

    /// Returns the observed value.
    ///
    /// # Errors
    /// Returns the reason if nothing was observed.
    pub fn as_result(&self) -> Result<&T, &str> {
        match self {
            Self::Observed(value) => Ok(value),
            Self::NotObserved(why) => Err(why),
        }
    }
}

/// All evidence that a policy judges.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The time of the judgement.
    pub now: Timestamp,
    /// The result of verifying the signature.
    pub signature: Observation<SignatureState>,
    /// The result of comparing the model with its seal.
    pub seal: Observation<SealState>,
    /// The model root of the measured bytes, with the prefix `blake3:`.
    pub root: Observation<String>,
    /// How much of the model was measured.
    pub coverage: Observation<CoverageEvidence>,
    /// All files of the model and their content.
    pub files: Observation<Vec<FileEvidence>>,
    /// The number of tensors of each element type.
    pub dtypes: Observation<BTreeMap<String, u64>>,
    /// The code in the model, including files that make a loader call something.
    pub code: Observation<CodeReport>,
    /// The files that someone vouches for, trusted or not.
    pub pins: Observation<Vec<Pins>>,
    /// The digests of whole files by path, with the prefix `blake3:`.
    pub digests: Observation<BTreeMap<String, String>>,
    /// The number of tensors that were audited.
    pub audit: Observation<u64>,
    /// The number of tensors that were compared with a baseline.
    pub lineage: Observation<u64>,
    /// The detection of each mark, in the order of the policy. Whether it is as expected is up to the policy and not
    /// part of `findings`.
    pub watermarks: Vec<Observation<Detection>>,
    /// The verified signed statements about this model.
    pub attestations: Observation<Vec<AttestationEvidence>>,
    /// The record of registry scans; `None` if no scan has recorded the model.
    pub registry: Observation<Option<ScanRecord>>,
    /// All findings except those that follow from the policy.
    pub findings: Vec<Finding>,
}

/// What registry scans recorded about a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRecord {
    /// The state of the model at the last scan.
    pub state: ModelState,
    /// The state in a sentence.
    pub detail: String,
    /// The recorded model root.
    pub root: Option<String>,
    /// The time of the last deep check.
    pub last_deep_check: Option<Timestamp>,
    /// The differences of the measured model from the accepted one, in a few words each.
    pub differences: Observation<Vec<String>>,
}

/// A file of a model and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEvidence {
    /// The path relative to the model.
    pub path: String,
    /// The length in bytes.
    pub bytes: u64,
    /// The content class and role of the file.
    pub content: FileContent,
    /// Whether the file has tensors that can be read and audited.
    pub readable: bool,
    /// Whether the file has weights that cannot be read, or should have weights by its name.
    pub unreadable: bool,
}

impl FileEvidence {
    /// Returns the evidence for all files that belong to a model.
    pub fn from_model(model: &Checkpoint) -> Vec<Self> {
        let evidence = |(index, file): (usize, &ModelFile)| {
            let readable = !model.tensors_of(index).is_empty();
            Self {
                path: file.path.clone(),
                bytes: file.bytes,
                content: file.content,
                readable,
                unreadable: model.has_unread_weights(index),
            }
        };
        model.model_files().iter().enumerate().map(evidence).collect()
    }
}

/// Files whose bytes someone vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    /// Who vouches for the files.
    pub by: PinnedBy,
    /// The paths of the files.
    pub files: BTreeSet<String>,
}

/// Who vouches for files. Whether they are trusted is up to the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinnedBy {
    /// A signature of the files of the model.
    Signature(SignerEvidence),
    /// A seal.
    Seal {
        /// The digest of the seal, with the prefix `blake3:`.
        digest: String,
        /// The signer of the seal, if it is signed.
        signed_by: Option<SignerEvidence>,
        /// Whether the seal was given explicitly and is outside the reach of those who can write the model.
        outside: bool,
    },
    /// The accepted content in a registry.
    Registry,
}

impl Evidence {
    /// Returns the evidence about a model that was not examined.
    pub fn empty(now: Timestamp) -> Self {
        Self {
            now,
            signature: Observation::not_examined(),
            seal: Observation::not_examined(),
            root: Observation::not_examined(),
            coverage: Observation::not_examined(),
            files: Observation::not_examined(),
            dtypes: Observation::not_examined(),
            code: Observation::not_examined(),
            pins: Observation::not_examined(),
            digests: Observation::not_examined(),
            audit: Observation::not_examined(),
            lineage: Observation::not_examined(),
            registry: Observation::not_examined(),
            watermarks: Vec::new(),
            attestations: Observation::not_examined(),
            findings: Vec::new(),
        }
    }
}

/// A signer whose signature was verified with a key or root of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignerEvidence {
    /// The name in reports.
    pub name: String,
    /// All identities: the subject and the alternative names of a certificate, and `sha256:` with the fingerprint of
    /// the key or certificate.
    pub identities: Vec<String>,
}

impl From<&signing::Signer> for SignerEvidence {
    fn from(signer: &signing::Signer) -> Self {
        let identities = match signer {
            signing::Signer::Key { fingerprint, .. } => vec![format!("sha256:{fingerprint}")],
            signing::Signer::Certificate { subject, names, fingerprint, .. } => {
                let own = [subject.clone(), format!("sha256:{fingerprint}")];
                own.into_iter().chain(names.iter().cloned()).collect()
            }
        };
        Self { name: signer.to_string(), identities }
    }
}

/// The result of verifying the signature of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureState {
    /// There is no signature.
    Absent,
    /// The signature does not verify; the findings say why.
    Failed,
    /// The signature verifies, and the model matches it.
    Verified(SignatureEvidence),
}

/// A verified signature, and what it does not cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureEvidence {
    /// The signer.
    pub by: SignerEvidence,
    /// The hash function of the manifest.
    pub hash: HashAlgorithm,
    /// The number of files that the manifest lists.
    pub files: u64,
    /// Existing paths that the manifest ignores.
    pub ignored: Vec<String>,
    /// Existing files that the manifest does not list.
    pub unsigned: Vec<String>,
    /// Links that were followed out of the model.
    pub links: Vec<String>,
}

/// The result of comparing a model with its seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealState {
    /// There is no seal.
    Absent,
    /// The seal cannot be used; the findings say why.
    Invalid,
    /// The model was compared with the seal; the findings contain the differences.
    Compared {
        /// The digest of the seal, with the prefix `blake3:`.
        digest: String,
        /// The signer of the seal; `None` if no signer of the policy signed it.
        signed_by: Option<SignerEvidence>,
    },
}

/// How much of a model was measured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CoverageEvidence {
    /// The number of bytes of all files.
    pub bytes_total: u64,
    /// The number of measured bytes.
    pub bytes_checked: u64,
    /// The paths that were not measured.
    pub left_out: Vec<SkippedPath>,
}

/// A signed statement about this model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationEvidence {
    /// The kind of attestation.
    pub kind: AttestationKind,
    /// The signer.
    pub by: SignerEvidence,
    /// The signed time; `None` if the statement has none.
    pub time: Option<Timestamp>,
    /// The findings of an attested audit.
    pub findings: Vec<AttestedFinding>,
}

/// The findings of one rule in an attested audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestedFinding {
    /// The id of the rule in the version that made the audit.
    pub rule: String,
    /// The severity.
    pub severity: Severity,
    /// The number of findings.
    pub count: u64,
}

impl AttestedFinding {
    /// Converts the facts of an attested audit. An unknown severity counts as critical.
    pub fn from_facts(facts: &AttestedAudit) -> Vec<Self> {
        let mut all = Vec::new();
        for (severity, rules) in &facts.findings {
            let severity = severity.parse().unwrap_or(Severity::Critical);
            let finding = |(rule, count): (&String, &u64)| Self {
                rule: rule.clone(),
                severity,
                count: *count,
            };
            all.extend(rules.iter().map(finding));
        }
        all
    }
}
