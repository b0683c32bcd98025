//! What scans record of models: the rows that a state of registries holds and that reports are written from.

use crate::judge::Finding;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use tensorseal_base::severity::Severity;

/// What became of a model since it was last accepted. Modified, bit rot and replaced are equally severe:
/// whoever can write a file can set its times, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelState {
    /// Its content is the accepted one, and what its source says of it holds.
    Ok,
    /// It was not there before: its content is accepted as first seen.
    New,
    /// Its content is another, and so are the marks of writing; or it is not what its source says.
    Modified,
    /// Its content is another, although nothing was written by any mark of the source.
    BitRot,
    /// It has another version, with other content.
    Replaced,
    /// It was there before.
    Missing,
    /// Not all of it is there, or could be read.
    Incomplete,
}

impl ModelState {
    /// All of them, in the order of tables.
    pub const ALL: [ModelState; 7] = [
        Self::Ok,
        Self::New,
        Self::Modified,
        Self::BitRot,
        Self::Replaced,
        Self::Missing,
        Self::Incomplete,
    ];

    /// Its name in tables, reports and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::New => "new",
            Self::Modified => "modified",
            Self::BitRot => "bit-rot",
            Self::Replaced => "replaced",
            Self::Missing => "missing",
            Self::Incomplete => "incomplete",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<ModelState> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A model of a registry, as it was last seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelRecord {
    /// The source it is in: a path or URI, without credentials.
    pub source: String,
    /// Its name there.
    pub name: String,
    /// Its version as the source knows it: a commit, the digest of a manifest, a number.
    pub version: Option<String>,
    /// What became of it.
    pub state: ModelState,
    /// The same in a sentence.
    pub detail: String,
    /// Number of its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Root of its tensors at the last deep check.
    pub root: Option<String>,
    /// Whether there is an OpenSSF Model Signing bundle with it. It is not verified by a scan.
    pub signed: bool,
    /// Whether there is a seal with it.
    pub sealed: bool,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// When every byte of it was last read and judged.
    pub last_deep_check: Option<Timestamp>,
    /// What was found then, and what was found of it since, worst first.
    pub findings: Vec<RecordedFinding>,
}

/// A finding as it is kept: see [`Finding`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedFinding {
    /// Id of the rule.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence for people.
    pub message: String,
    /// The file concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The tensor concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensor: Option<String>,
    /// Half-open; of the tensor's data where there is one, else of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte_range: Option<[u64; 2]>,
    /// The numbers behind it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, Value>,
    /// Public ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
}

impl ModelRecord {
    /// The worst that was found of it.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

impl RecordedFinding {
    /// Whether it says that a file does not have a digest that is claimed of it.
    pub fn contradicts_digest(&self) -> bool {
        self.rule == "registry/blob-differs"
    }
}

impl From<&Finding> for RecordedFinding {
    fn from(finding: &Finding) -> Self {
        let evidence = finding.evidence.iter();
        RecordedFinding {
            rule: finding.rule.to_owned(),
            severity: finding.severity,
            message: finding.message.clone(),
            file: finding.file.clone(),
            tensor: finding.tensor.clone(),
            byte_range: finding.byte_range,
            evidence: evidence.map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            references: finding.references.iter().map(|id| (*id).to_owned()).collect(),
        }
    }
}

/// One scan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRecord {
    /// Its number.
    pub id: i64,
    /// The sources that were scanned.
    pub sources: Vec<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; null: it is at work, or was killed.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Models that were seen.
    pub models: u64,
    /// Of these, those of which every byte was read.
    pub deep_checked: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// What could not be checked, in a sentence each.
    pub errors: Vec<String>,
}

impl RunRecord {
    /// How long it took, in seconds, when it has ended; clocks that were set back in between make it 0.
    pub fn seconds(&self) -> Option<f64> {
        Some(self.ended?.duration_since(self.started).as_secs_f64().max(0.0))
    }
}

/// What a scan came upon and did not read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SkippedItems {
    /// How much there was of it.
    pub count: u64,
    /// The first [`SkippedItems::MOST`] of it.
    pub first: Vec<SkippedItem>,
}

/// One thing that was not read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SkippedItem {
    /// The source it is in.
    pub source: String,
    /// Where it is there: its path, or the name that it would have as a model.
    pub path: String,
    /// Why, in a few words.
    pub reason: String,
}

impl SkippedItems {
    /// As many are named.
    pub const MOST: usize = 1000;

    /// Adds one.
    pub fn add(&mut self, source: &str, path: String, reason: String) {
        self.count += 1;
        if self.first.len() < Self::MOST {
            self.first.push(SkippedItem { source: source.to_owned(), path, reason });
        }
    }
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// It did not, or nobody is there who knows.
    Running,
    /// Nothing at or above the severity that fails it.
    Pass,
    /// There are findings.
    Fail,
    /// Not everything could be checked.
    Incomplete,
    /// It was asked to stop.
    Interrupted,
}

impl RunOutcome {
    /// All of them, in the order of tables.
    pub const ALL: [RunOutcome; 5] =
        [Self::Running, Self::Pass, Self::Fail, Self::Incomplete, Self::Interrupted];

    /// Its name in reports and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Incomplete => "incomplete",
            Self::Interrupted => "interrupted",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<RunOutcome> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// What is known in sum.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RegistrySummary {
    /// The last scan.
    pub last_run: Option<RunRecord>,
    /// When a scan last checked everything that was due, whatever it found.
    pub last_complete: Option<Timestamp>,
    /// Number of models by state; every state is there.
    pub models: BTreeMap<ModelState, u64>,
    /// Number of findings that stand, by severity and rule.
    pub findings: BTreeMap<(Severity, String), u64>,
    /// The oldest of the last deep checks; null: a model was never deeply checked, or there is none.
    pub oldest_deep_check: Option<Timestamp>,
    /// Models that were never deeply checked.
    pub never_deep_checked: u64,
    /// Models without a signature.
    pub unsigned: u64,
    /// Models without a seal.
    pub unsealed: u64,
    /// Bytes that all scans read.
    pub bytes_read: u64,
}

impl RegistrySummary {
    /// Nothing is known.
    pub fn empty() -> RegistrySummary {
        RegistrySummary {
            last_run: None,
            last_complete: None,
            models: ModelState::ALL.into_iter().map(|state| (state, 0)).collect(),
            findings: BTreeMap::new(),
            oldest_deep_check: None,
            never_deep_checked: 0,
            unsigned: 0,
            unsealed: 0,
            bytes_read: 0,
        }
    }

    /// Counts these models; what is known of scans is left as it is.
    ///
    /// # Errors
    /// Those of reading.
    pub fn count(mut self, records: &dyn ModelRecords) -> io::Result<RegistrySummary> {
        records.each(&mut |model| {
            *self.models.entry(model.state).or_default() += 1;
            for finding in &model.findings {
                let key = (finding.severity, finding.rule.clone());
                *self.findings.entry(key).or_default() += 1;
            }
            self.unsigned += u64::from(!model.signed);
            self.unsealed += u64::from(!model.sealed);
            match (model.last_deep_check, self.oldest_deep_check) {
                (None, _) => self.never_deep_checked += 1,
                (Some(time), Some(oldest)) if time >= oldest => {}
                (time, _) => self.oldest_deep_check = time,
            }
            Ok(())
        })?;
        Ok(self)
    }

    /// Number of models in this state.
    pub fn in_state(&self, state: ModelState) -> u64 {
        self.models.get(&state).copied().unwrap_or(0)
    }

    /// Number of all models.
    pub fn total(&self) -> u64 {
        self.models.values().sum()
    }
}

/// The models that reports are written from, one after the other: there may be more than fit in memory.
pub trait ModelRecords {
    /// Gives each model to `each`, ordered by source and name.
    ///
    /// # Errors
    /// Those of `each`, and of reading.
    fn each(&self, each: &mut dyn FnMut(&ModelRecord) -> io::Result<()>) -> io::Result<()>;
}

impl ModelRecords for Vec<ModelRecord> {
    fn each(&self, each: &mut dyn FnMut(&ModelRecord) -> io::Result<()>) -> io::Result<()> {
        self.iter().try_for_each(each)
    }
}

impl ModelRecords for [ModelRecord] {
    fn each(&self, each: &mut dyn FnMut(&ModelRecord) -> io::Result<()>) -> io::Result<()> {
        self.iter().try_for_each(each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_found_again() {
        for state in ModelState::ALL {
            assert_eq!(ModelState::from_name(state.name()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        for outcome in RunOutcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }

    #[test]
    fn a_clock_that_was_set_back_is_no_negative_time() {
        let run = |ended: Option<i64>| RunRecord {
            id: 1,
            sources: Vec::new(),
            started: Timestamp::from_second(100).unwrap(),
            ended: ended.map(|second| Timestamp::from_second(second).unwrap()),
            outcome: RunOutcome::Pass,
            models: 0,
            deep_checked: 0,
            bytes_read: 0,
            errors: Vec::new(),
        };
        assert_eq!(run(Some(140)).seconds(), Some(40.0));
        assert_eq!(run(Some(60)).seconds(), Some(0.0));
        assert_eq!(run(None).seconds(), None);
    }
}
