//! The document of a run: everything that a verb has to say of a model, as data.
//!
//! Verbs fill it in and draw its verdict; how it is told to people and machines is left to whoever writes
//! reports of it.

pub mod coverage;
mod fill;
pub mod inventory;
pub mod policy;
pub mod profile;
pub mod safe_text;
pub mod signature;
pub mod statement;
pub mod units;

use crate::judge::compare::ComparisonReport;
use crate::judge::embedding::Embedding;
use crate::judge::watermark::Detection;
use crate::judge::{Finding, Severity, Verdict};
use crate::seal::Seal;
pub use coverage::{Coverage, UnrecognisedFile};
use inventory::InventoryFile;
pub use policy::PolicyUsed;
use profile::Profile;
use serde::Serialize;
use serde_json::Value;
pub use signature::SignatureUsed;
use tensorseal_engine::EngineUse;

/// Schema name of the JSON report.
pub const SCHEMA: &str = "tensorseal.report/2";

/// Everything a command has to say.
#[derive(Debug, Serialize)]
#[must_use = "what was found is in it: look at its verdict"]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Who wrote it.
    pub tool: Tool,
    /// The verb.
    pub command: &'static str,
    /// The model, as far as it could be read.
    pub model: ModelSummary,
    /// Who measured; null when nothing was measured.
    pub engine: Option<EngineUse>,
    /// What was covered.
    pub coverage: Coverage,
    /// The signature that was made or checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureUsed>,
    /// The seal that was written or compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal: Option<SealUsed>,
    /// The policy that it was judged by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyUsed>,
    /// Outcome.
    pub verdict: Verdict,
    /// The exit code of the command.
    pub exit_code: u8,
    /// Why it is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Findings, worst first.
    pub findings: Vec<Finding>,
    /// What is drawn of tensors; empty: nothing was measured that can be drawn.
    #[serde(skip)]
    pub profiles: Vec<Profile>,
    /// How much an audit looked at.
    #[serde(skip)]
    pub audited: Option<AuditExtent>,
    /// What whoever waits is told besides, in the order that it came up: who measured, that nothing moved.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// The files of the model, as far as they were listed.
    #[serde(skip)]
    pub inventory: Vec<InventoryFile>,
    /// Lowest severity that makes the command fail, where no policy says what does.
    #[serde(skip)]
    pub fail_on: Severity,
    /// What was found of marks, or the mark that was embedded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<WatermarkReport>,
    /// How two models differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<ComparisonUsed>,
    /// Tensors, on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensors: Option<Value>,
}

/// The program.
#[derive(Debug, Serialize)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// The model of a report.
#[derive(Debug, Default, Serialize)]
pub struct ModelSummary {
    /// The path as given.
    pub path: String,
    /// Container format.
    pub format: String,
    /// Number of files.
    pub files: u64,
    /// Number of tensors.
    pub tensors: u64,
    /// Elements of all tensors.
    pub elements: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Model root, when all of it was measured.
    pub root: Option<String>,
}

impl ModelSummary {
    /// How much of what it has: files, tensors, elements, bytes.
    pub fn content(&self) -> String {
        format!(
            "{}, {}, {} elements, {}",
            units::count(self.files, "file"),
            units::count(self.tensors, "tensor"),
            units::grouped(self.elements),
            units::bytes(self.bytes)
        )
    }
}

/// The seal of a report.
#[derive(Debug, Serialize)]
pub struct SealUsed {
    /// `blake3:` and the digest of the seal's bytes.
    pub digest: Option<String>,
    /// Where it is.
    pub source: String,
    /// Who signed it; null: nobody who is trusted.
    pub signed_by: Option<String>,
    /// What of the model was compared with it; none where it was not.
    #[serde(skip)]
    pub compared: Option<SealedCounts>,
}

/// What a seal lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedCounts {
    /// Tensors.
    pub tensors: u64,
    /// Files that hold none.
    pub other_files: u64,
}

impl SealedCounts {
    /// Of this seal.
    pub fn from_seal(seal: &Seal) -> Self {
        let other_files = seal.files.iter().filter(|file| file.outside.is_none()).count() as u64;
        Self { tensors: seal.model.tensors, other_files }
    }
}

/// What an audit looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AuditExtent {
    /// Tensors of weights.
    pub weights: u64,
    /// Tensors of other types: their digests and pages only.
    pub others: u64,
    /// Share of the pages that doubled ones are found in, 0 to 1.
    pub page_share: f64,
}

/// What a model was compared with, and how they differ.
#[derive(Debug, Serialize)]
pub struct ComparisonUsed {
    /// The other model.
    pub other: ModelSummary,
    /// How they differ.
    #[serde(flatten)]
    pub comparison: ComparisonReport,
}

/// The watermark of a report.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum WatermarkReport {
    /// One key was looked for.
    Detected(Box<Detection>),
    /// Several keys were, in the order they were given.
    AllDetected(Vec<Detection>),
    /// A mark was embedded.
    Embedded(Embedding),
}

impl WatermarkReport {
    /// The outcome for each key.
    pub fn from_detections(mut detections: Vec<Detection>) -> Self {
        match detections.pop() {
            Some(only) if detections.is_empty() => Self::Detected(Box::new(only)),
            last => {
                detections.extend(last);
                Self::AllDetected(detections)
            }
        }
    }
}

impl Report {
    /// An empty report of a command.
    pub fn new(command: &'static str, path: &str) -> Self {
        Self {
            schema: SCHEMA,
            tool: Tool { name: "tensorseal", version: env!("CARGO_PKG_VERSION") },
            command,
            model: ModelSummary { path: path.to_owned(), ..ModelSummary::default() },
            engine: None,
            coverage: Coverage::default(),
            signature: None,
            seal: None,
            policy: None,
            verdict: Verdict::Incomplete,
            exit_code: 3,
            error: None,
            findings: Vec::new(),
            profiles: Vec::new(),
            audited: None,
            notes: Vec::new(),
            inventory: Vec::new(),
            fail_on: Severity::Medium,
            watermark: None,
            comparison: None,
            tensors: None,
        }
    }

    /// Sorts the findings and draws the verdict from them.
    pub fn judge(&mut self, fail_on: Severity) {
        self.fail_on = fail_on;
        self.sort();
        let failed = self.findings.iter().any(|finding| self.fails(finding));
        self.conclude(if failed { Verdict::Fail } else { Verdict::Pass });
    }

    /// Takes over what a policy said. It alone draws the verdict.
    pub fn judge_by(&mut self, policy: PolicyUsed, findings: Vec<Finding>) {
        self.conclude(if policy.passed { Verdict::Pass } else { Verdict::Fail });
        self.policy = Some(policy);
        self.findings = findings;
        self.sort();
    }

    /// Sets the verdict, and the exit code that goes with it.
    pub fn conclude(&mut self, verdict: Verdict) {
        self.verdict = verdict;
        self.exit_code = match verdict {
            Verdict::Pass => 0,
            Verdict::Fail => 1,
            Verdict::Incomplete => 3,
        };
    }

    /// Turns a pass into what it is where something that was asked for was not looked at (exit code 3), or
    /// there was nothing to look at (4). Findings that fail stand before both, and 3 before 4.
    pub fn downgrade_pass(&mut self, why: impl Into<String>, exit_code: u8) {
        let passed = self.verdict == Verdict::Pass;
        if passed || self.verdict == Verdict::Incomplete && exit_code < self.exit_code {
            self.verdict = Verdict::Incomplete;
            self.exit_code = exit_code;
            self.error = Some(why.into());
        }
    }

    /// Whether a finding makes the command fail.
    pub fn fails(&self, finding: &Finding) -> bool {
        finding.fails(self.fail_on)
    }

    /// Worst first; what a policy does not let through before what it does.
    fn sort(&mut self) {
        let lets_through =
            |finding: &Finding| finding.standing.as_ref().is_some_and(|s| !s.violates());
        self.findings
            .sort_by_key(|finding| (lets_through(finding), std::cmp::Reverse(finding.severity)));
    }
}
