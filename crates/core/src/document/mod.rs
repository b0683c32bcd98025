//! The report of a run as data: everything that a command has to say about a model.
//!
//! Commands fill in the report and draw its verdict. The `tensorseal-report` crate renders it for people and machines.

pub mod coverage;
mod fill;
pub mod inventory;
pub mod policy;
pub mod profile;
pub mod safe_text;
pub mod signature;
pub mod statement;

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
use tensorseal_base::units;
use tensorseal_engine::EngineUse;

/// The schema name of the JSON report.
pub const SCHEMA: &str = "tensorseal.report/2";

/// The report of a command.
#[derive(Debug, Serialize)]
#[must_use = "a report carries the verdict and the exit code of the command"]
pub struct Report {
    /// The schema name, [`SCHEMA`].
    pub schema: &'static str,
    /// The program that wrote the report.
    pub tool: Tool,
    /// The name of the command.
    pub command: &'static str,
    /// The model, as far as it could be read.
    pub model: ModelSummary,
    /// The engine that measured; null if nothing was measured.
    pub engine: Option<EngineUse>,
    /// How much of the model was measured.
    pub coverage: Coverage,
    /// The signature that was created or verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureUsed>,
    /// The seal that was written or compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal: Option<SealUsed>,
    /// The policy that the model was judged by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyUsed>,
    /// The verdict of the command.
    pub verdict: Verdict,
    /// The exit code of the command.
    pub exit_code: u8,
    /// Why the verdict is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The findings, worst first.
    pub findings: Vec<Finding>,
    /// Data for plots of tensors; empty if nothing was measured that can be plotted.
    #[serde(skip)]
    pub profiles: Vec<Profile>,
    /// How much of the model an audit examined.
    #[serde(skip)]
    pub audited: Option<AuditExtent>,
    /// Further notes for the terminal, in the order in which they came up, such as the engine that measured.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// The files of the model, if the command lists them.
    #[serde(skip)]
    pub inventory: Vec<InventoryFile>,
    /// The lowest severity that makes the command fail, unless a policy decides.
    #[serde(skip)]
    pub fail_on: Severity,
    /// The result of a search for watermarks, or the mark that was embedded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<WatermarkReport>,
    /// The comparison with another model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<ComparisonUsed>,
    /// The tensors of the model, on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensors: Option<Value>,
}

/// The program that wrote a report.
#[derive(Debug, Serialize)]
pub struct Tool {
    /// The name of the program.
    pub name: &'static str,
    /// The version of the program.
    pub version: &'static str,
}

/// The model that a report is about.
#[derive(Debug, Default, Serialize)]
pub struct ModelSummary {
    /// The path as the user gave it.
    pub path: String,
    /// The container format.
    pub format: String,
    /// The number of model files.
    pub files: u64,
    /// The number of tensors.
    pub tensors: u64,
    /// The number of elements of all tensors.
    pub elements: u64,
    /// The size of all model files in bytes.
    pub bytes: u64,
    /// The model root, if the whole model was measured.
    pub root: Option<String>,
}

impl ModelSummary {
    /// Describes the size of the model: the numbers of files, tensors, elements and bytes.
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

/// The seal that a command wrote or compared with.
#[derive(Debug, Serialize)]
pub struct SealUsed {
    /// `blake3:` and the digest of the seal's bytes in hexadecimal.
    pub digest: Option<String>,
    /// The path or URI of the seal.
    pub source: String,
    /// The trusted signer of the seal; null if it has none.
    pub signed_by: Option<String>,
    /// What was compared with the seal; `None` if nothing was.
    #[serde(skip)]
    pub compared: Option<SealedCounts>,
}

/// How many tensors and files a seal lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedCounts {
    /// The number of sealed tensors.
    pub tensors: u64,
    /// The number of sealed files that hold no tensors.
    pub other_files: u64,
}

impl SealedCounts {
    /// Counts what `seal` lists.
    pub fn from_seal(seal: &Seal) -> Self {
        let other_files = seal.files.iter().filter(|file| file.outside.is_none()).count() as u64;
        Self { tensors: seal.model.tensors, other_files }
    }
}

/// How much of a model an audit examined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AuditExtent {
    /// The number of tensors whose values were audited.
    pub weights: u64,
    /// The number of tensors of other types, of which only digests and pages were checked.
    pub others: u64,
    /// The share of duplicate pages that is found, 0 to 1.
    pub page_share: f64,
}

/// The comparison of a model with another one.
#[derive(Debug, Serialize)]
pub struct ComparisonUsed {
    /// The other model.
    pub other: ModelSummary,
    /// How the two models differ.
    #[serde(flatten)]
    pub comparison: ComparisonReport,
}

/// The watermark part of a report.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum WatermarkReport {
    /// The result for a single key.
    Detected(Box<Detection>),
    /// The results for several keys, in the order in which they were given.
    AllDetected(Vec<Detection>),
    /// The mark that was embedded.
    Embedded(Embedding),
}

impl WatermarkReport {
    /// Creates the part from one result per key.
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
    /// Creates an empty report of `command` on the model at `path`. Its verdict is incomplete.
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

    /// Sorts the findings and draws the verdict: fail if a finding has at least the severity `fail_on`.
    pub fn judge(&mut self, fail_on: Severity) {
        self.fail_on = fail_on;
        self.sort();
        let failed = self.findings.iter().any(|finding| self.fails(finding));
        self.conclude(if failed { Verdict::Fail } else { Verdict::Pass });
    }

    /// Takes over the verdict and the findings of a policy.
    pub fn judge_by(&mut self, policy: PolicyUsed, findings: Vec<Finding>) {
        self.conclude(if policy.passed { Verdict::Pass } else { Verdict::Fail });
        self.policy = Some(policy);
        self.findings = findings;
        self.sort();
    }

    /// Sets the verdict and the exit code that belongs to it.
    pub fn conclude(&mut self, verdict: Verdict) {
        self.verdict = verdict;
        self.exit_code = match verdict {
            Verdict::Pass => 0,
            Verdict::Fail => 1,
            Verdict::Incomplete => 3,
        };
    }

    /// Turns a pass into an incomplete verdict because something could not be checked (exit code 3) or there was nothing to
    /// check (exit code 4). A failure takes precedence over both, and exit code 3 over 4.
    pub fn downgrade_pass(&mut self, reason: impl Into<String>, exit_code: u8) {
        let passed = self.verdict == Verdict::Pass;
        if passed || self.verdict == Verdict::Incomplete && exit_code < self.exit_code {
            self.verdict = Verdict::Incomplete;
            self.exit_code = exit_code;
            self.error = Some(reason.into());
        }
    }

    /// Returns whether a finding makes the command fail.
    pub fn fails(&self, finding: &Finding) -> bool {
        finding.fails(self.fail_on)
    }

    /// Sorts the findings by descending severity. Findings that violate a policy come before those that it allows.
    fn sort(&mut self) {
        let is_allowed =
            |finding: &Finding| finding.standing.as_ref().is_some_and(|s| !s.violates());
        self.findings
            .sort_by_key(|finding| (is_allowed(finding), std::cmp::Reverse(finding.severity)));
    }
}
