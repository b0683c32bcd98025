//! What is known of a model when it is judged: plain values, and of each the possibility that nobody
//! looked.

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

/// Something that was looked at, or the reason why it was not. There is no third: what is unknown
/// cannot pass for what is fine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation<T> {
    /// What was seen.
    Observed(T),
    /// It was not looked at, and why.
    NotObserved(String),
}

impl<T> Observation<T> {
    /// Nobody looked.
    pub fn not_examined() -> Self {
        Self::NotObserved("it was not looked at".to_owned())
    }

    /// What was seen, or the reason why nothing was.
    pub fn as_result(&self) -> Result<&T, &str> {
        match self {
            Self::Observed(seen) => Ok(seen),
            Self::NotObserved(why) => Err(why),
        }
    }
}

/// Everything that a policy judges by.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The time of judgement.
    pub now: Timestamp,
    /// What came of the signature of the model.
    pub signature: Observation<SignatureState>,
    /// What came of its seal.
    pub seal: Observation<SealState>,
    /// `blake3:` and the model root, of the bytes that were measured.
    pub root: Observation<String>,
    /// How much of the model was measured.
    pub coverage: Observation<CoverageEvidence>,
    /// Every file of the model, and what it is.
    pub files: Observation<Vec<FileEvidence>>,
    /// Types of the tensors: name and number of tensors.
    pub dtypes: Observation<BTreeMap<String, u64>>,
    /// What of the model is code, or makes a loader call something.
    pub code: Observation<CodeReport>,
    /// Files that somebody vouches for, whoever that is.
    pub pins: Observation<Vec<Pins>>,
    /// By path, `blake3:` and the digest of the whole file.
    pub digests: Observation<BTreeMap<String, String>>,
    /// Number of tensors whose weights were audited.
    pub audit: Observation<u64>,
    /// Number of tensors that were compared with a baseline.
    pub lineage: Observation<u64>,
    /// What was found of each mark, in the order of the policy. Whether it is as expected is for the policy
    /// to say and not among `findings`.
    pub watermarks: Vec<Observation<Detection>>,
    /// Signed statements about this model whose signature verified.
    pub attestations: Observation<Vec<AttestationEvidence>>,
    /// What scans of registries recorded of the model; `None`: they know nothing of it.
    pub registry: Observation<Option<ScanRecord>>,
    /// Everything that was found, except what follows from the policy.
    pub findings: Vec<Finding>,
}

/// What scans of registries recorded of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRecord {
    /// What became of it.
    pub state: ModelState,
    /// In a sentence.
    pub detail: String,
    /// The root of its tensors.
    pub root: Option<String>,
    /// When every byte of it was last read.
    pub last_deep_check: Option<Timestamp>,
    /// Where the model that was measured is not the one that was accepted, in a few words each; empty: nowhere.
    pub differences: Observation<Vec<String>>,
}

/// A file of a model, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEvidence {
    /// Path relative to the model.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// What its bytes are, and what part it plays.
    pub content: FileContent,
    /// Whether it has tensors that can be read: those are what an audit looks into.
    pub readable: bool,
    /// Whether it has weights, or should have some by its name, that cannot be read.
    pub unread: bool,
}

impl FileEvidence {
    /// Those of a model, without what lies beside it.
    pub fn from_model(model: &Checkpoint) -> Vec<Self> {
        let of = |(index, file): (usize, &ModelFile)| {
            let readable = !model.tensors_of(index).is_empty();
            Self {
                path: file.path.clone(),
                bytes: file.bytes,
                content: file.content,
                readable,
                unread: model.has_unread_weights(index),
            }
        };
        model.model_files().iter().enumerate().map(of).collect()
    }
}

/// Files of which the bytes are those that somebody vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    /// Who does.
    pub by: PinnedBy,
    /// Their paths.
    pub files: BTreeSet<String>,
}

/// Who vouches for files. Whether that counts is for the policy to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinnedBy {
    /// A signature of the model's files.
    Signature(SignerEvidence),
    /// A seal.
    Seal {
        /// `blake3:` and its digest.
        digest: String,
        /// Who signed it, if somebody did.
        signed_by: Option<SignerEvidence>,
        /// Whether it was named and lies where whoever writes the model does not write.
        outside: bool,
    },
    /// What was accepted of the model in a registry.
    Registry,
}

impl Evidence {
    /// Of a model that nobody has looked at.
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

/// Somebody whose signature verified with a key or a root of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignerEvidence {
    /// What reports call them.
    pub name: String,
    /// Everything that they are known by: the subject and the further names of a certificate, `sha256:` and
    /// the fingerprint of the key or certificate.
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

/// What came of the signature of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureState {
    /// There is none.
    Absent,
    /// There is one and it does not verify; why is among the findings.
    Failed,
    /// It verifies, and the model is what was signed.
    Verified(SignatureEvidence),
}

/// A signature that verified, and what it does not reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureEvidence {
    /// By whom.
    pub by: SignerEvidence,
    /// Hash function of the manifest.
    pub hash: HashAlgorithm,
    /// Files that the manifest lists.
    pub files: u64,
    /// Paths that exist and that the manifest itself leaves out.
    pub ignored: Vec<String>,
    /// Files that exist and that the manifest does not list.
    pub unsigned: Vec<String>,
    /// Links that were followed out of the model.
    pub links: Vec<String>,
}

/// What came of the seal of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealState {
    /// There is none.
    Absent,
    /// There is one that cannot be used; why is among the findings.
    Invalid,
    /// The model was compared with it; differences are among the findings.
    Compared {
        /// `blake3:` and the digest of the seal.
        digest: String,
        /// Who signed it; `None`: nobody of the policy.
        signed_by: Option<SignerEvidence>,
    },
}

/// How much of a model was measured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CoverageEvidence {
    /// Bytes of all its files.
    pub bytes_total: u64,
    /// Bytes that were measured.
    pub bytes_checked: u64,
    /// What exists beside them and was not.
    pub left_out: Vec<SkippedPath>,
}

/// A signed statement about this model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationEvidence {
    /// What it is about.
    pub kind: AttestationKind,
    /// Who signed it.
    pub by: SignerEvidence,
    /// The time that was signed; `None`: it has none.
    pub time: Option<Timestamp>,
    /// Of an audit: what it found.
    pub findings: Vec<AttestedFinding>,
}

/// What an attested audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestedFinding {
    /// The rule, as the other version of this program calls it.
    pub rule: String,
    /// How bad it was.
    pub severity: Severity,
    /// How often.
    pub count: u64,
}

impl AttestedFinding {
    /// What an audit states. A severity that this version does not know is taken for the worst.
    pub fn from_facts(facts: &AttestedAudit) -> Vec<Self> {
        let mut all = Vec::new();
        for (severity, rules) in &facts.findings {
            let severity = severity.parse().unwrap_or(Severity::Critical);
            let of = |(rule, count): (&String, &u64)| Self {
                rule: rule.clone(),
                severity,
                count: *count,
            };
            all.extend(rules.iter().map(of));
        }
        all
    }
}
