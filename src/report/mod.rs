//! Reports: the same facts for machines ([`json`], [`sarif`], [`junit`]) and for people ([`human`],
//! [`html`], [`markdown`]).

pub mod evidence;
pub mod html;
pub mod human;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod profile;
pub mod sarif;
pub mod shown;
pub mod signature;
pub mod summary;
pub mod units;

use crate::checkpoint::NotCovered;
use crate::engine::EngineUse;
use crate::judge::compare::Comparison;
use crate::judge::embedding::Embedding;
use crate::judge::watermark::Detection;
use crate::judge::{Finding, Severity, Verdict};
use profile::Profile;
use serde::Serialize;
use serde_json::Value;
pub use signature::SignatureUsed;

/// Schema name of the JSON report.
pub const SCHEMA: &str = "tensorseal.report/1";

/// Everything a command has to say.
#[derive(Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Who wrote it.
    pub tool: Tool,
    /// The verb.
    pub command: &'static str,
    /// The model, as far as it could be read.
    pub model: Model,
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
    /// Outcome.
    pub verdict: Verdict,
    /// Why it is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Findings, worst first.
    pub findings: Vec<Finding>,
    /// What is drawn of tensors; empty: nothing was measured that can be drawn.
    #[serde(skip)]
    pub profiles: Vec<Profile>,
    /// Lowest severity that makes the command fail.
    #[serde(skip)]
    pub fail_on: Severity,
    /// The exit code, where the verdict alone does not give it.
    #[serde(skip)]
    pub exit_code: Option<u8>,
    /// What was found of marks, or the mark that was embedded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Watermark>,
    /// How two models differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Compared>,
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
pub struct Model {
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

impl Model {
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

/// What a report speaks of, and what not.
#[derive(Debug, Default, Serialize)]
pub struct Coverage {
    /// Bytes of all files of the model.
    pub bytes_total: u64,
    /// Bytes that were measured.
    pub bytes_checked: u64,
    /// What exists and was not measured.
    pub not_covered: Vec<NotCovered>,
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
}

/// What a model was compared with, and how they differ.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// The other model.
    pub other: Model,
    /// How they differ.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// The watermark of a report.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Watermark {
    /// One key was looked for.
    Detected(Box<Detection>),
    /// Several keys were, in the order they were given.
    AllDetected(Vec<Detection>),
    /// A mark was embedded.
    Embedded(Embedding),
}

impl Watermark {
    /// The outcome for each key.
    pub fn detected(mut detections: Vec<Detection>) -> Self {
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
            model: Model { path: path.to_owned(), ..Model::default() },
            engine: None,
            coverage: Coverage::default(),
            signature: None,
            seal: None,
            verdict: Verdict::Incomplete,
            error: None,
            findings: Vec::new(),
            profiles: Vec::new(),
            fail_on: Severity::Medium,
            exit_code: None,
            watermark: None,
            comparison: None,
            tensors: None,
        }
    }

    /// Sorts the findings and draws the verdict from them.
    pub fn judge(&mut self, fail_on: Severity) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        self.fail_on = fail_on;
        let failed = self.findings.iter().any(|finding| finding.severity >= fail_on);
        self.verdict = if failed { Verdict::Fail } else { Verdict::Pass };
    }
}
