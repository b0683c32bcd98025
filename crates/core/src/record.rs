//! What a registry scan records about models and about itself. The state database stores these rows, and reports are
//! written from them.

use crate::judge::Finding;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use tensorseal_base::severity::Severity;

/// What became of a model since its accepted baseline. `Modified`, `BitRot` and `Replaced` are equally severe: anyone
/// who can write a file can also set its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelState {
    /// The content equals the accepted baseline and the digests that its source lists.
    Ok,
    /// The model was not there at the last scan. Its content becomes the accepted baseline.
    New,
    /// The content changed and so did its change token, or it contradicts a digest that its source lists.
    Modified,
    /// The content changed, although no change token of the source did.
    BitRot,
    /// The model has a new version with different content.
    Replaced,
    /// The model was there at an earlier scan and is gone.
    Missing,
    /// Some of the model's files are missing or cannot be read.
    Incomplete,
}

impl ModelState {
    /// All states, in the order of tables.
    pub const ALL: [ModelState; 7] = [
        Self::Ok,
        Self::New,
        Self::Modified,
        Self::BitRot,
        Self::Replaced,
        Self::Missing,
        Self::Incomplete,
    ];

    /// Returns the name of the state in tables, reports and the database.
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

    /// Returns the state with this [name](Self::name).
    pub fn from_name(name: &str) -> Option<ModelState> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A model of a registry, as the last scan saw it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelRecord {
    /// The source that holds the model: a path or URI, without credentials.
    pub source: String,
    /// The name of the model in its source.
    pub name: String,
    /// The version that the source states: a commit, the digest of a manifest or a number.
    pub version: Option<String>,
    /// What became of the model since its accepted baseline.
    pub state: ModelState,
    /// The state explained in one sentence.
    pub detail: String,
    /// The number of files.
    pub files: u64,
    /// The size of all files in bytes.
    pub bytes: u64,
    /// The model root at the last deep check.
    pub root: Option<String>,
    /// Whether the model has an OpenSSF Model Signing bundle. A scan does not verify it.
    pub signed: bool,
    /// Whether the model has a seal.
    pub sealed: bool,
    /// When a scan first saw the model.
    pub first_seen: Timestamp,
    /// When a scan last saw the model.
    pub last_seen: Timestamp,
    /// When the model was last deeply checked: every byte read and judged.
    pub last_deep_check: Option<Timestamp>,
    /// The findings of the last deep check and those made since, worst first.
    pub findings: Vec<RecordedFinding>,
}

/// A [`Finding`] in the form in which it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedFinding {
    /// The id of the rule.
    pub rule: String,
    /// How severe the finding is.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The file that the finding is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The tensor that the finding is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensor: Option<String>,
    /// The half-open byte range that the finding is about, in the data of `tensor` if there is one, else in `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte_range: Option<[u64; 2]>,
    /// The numbers behind the finding.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, Value>,
    /// Public identifiers, such as CVE numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
}

impl ModelRecord {
    /// Returns the severity of the worst finding, if there are findings.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

impl RecordedFinding {
    /// Returns whether the finding says that a file contradicts its listed digest.
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

/// One registry scan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRecord {
    /// The number of the scan.
    pub id: i64,
    /// The sources that were scanned.
    pub sources: Vec<String>,
    /// When the scan started.
    pub started: Timestamp,
    /// When the scan ended; null if it still runs or was killed.
    pub ended: Option<Timestamp>,
    /// How the scan ended.
    pub outcome: RunOutcome,
    /// The number of models that the scan saw.
    pub models: u64,
    /// The number of models that were deeply checked.
    pub deep_checked: u64,
    /// The number of bytes read.
    pub bytes_read: u64,
    /// What could not be checked, one sentence each.
    pub errors: Vec<String>,
}

impl RunRecord {
    /// Returns how long the scan took in seconds, or `None` if it has not ended. The result is 0 if the clock was set back
    /// during the scan.
    pub fn seconds(&self) -> Option<f64> {
        Some(self.ended?.duration_since(self.started).as_secs_f64().max(0.0))
    }
}

/// The items that a scan came across and did not read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SkippedItems {
    /// The number of skipped items.
    pub count: u64,
    /// The first [`SkippedItems::MAX_LISTED`] skipped items.
    pub first: Vec<SkippedItem>,
}

/// One item that a scan did not read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SkippedItem {
    /// The source that holds the item.
    pub source: String,
    /// The path of the item in its source, or the name that it would have as a model.
    pub path: String,
    /// Why it was skipped, in a few words.
    pub reason: String,
}

impl SkippedItems {
    /// The number of items that are listed one by one; the rest are only counted.
    pub const MAX_LISTED: usize = 1000;

    /// Counts a skipped item, and lists it if there is room.
    pub fn add(&mut self, source: &str, path: String, reason: String) {
        self.count += 1;
        if self.first.len() < Self::MAX_LISTED {
            self.first.push(SkippedItem { source: source.to_owned(), path, reason });
        }
    }
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// The scan has not ended, or was killed.
    Running,
    /// Everything was checked, and no finding reaches the severity that fails a scan.
    Pass,
    /// There are findings that fail the scan.
    Fail,
    /// Something could not be checked.
    Incomplete,
    /// The scan was interrupted by the user or the system.
    Interrupted,
}

impl RunOutcome {
    /// All outcomes, in the order of tables.
    pub const ALL: [RunOutcome; 5] =
        [Self::Running, Self::Pass, Self::Fail, Self::Incomplete, Self::Interrupted];

    /// Returns the name of the outcome in reports and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Incomplete => "incomplete",
            Self::Interrupted => "interrupted",
        }
    }

    /// Returns the outcome with this [name](Self::name).
    pub fn from_name(name: &str) -> Option<RunOutcome> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// Totals over all models and scans of a state database.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RegistrySummary {
    /// The last scan, if there was one.
    pub last_run: Option<RunRecord>,
    /// When a scan last checked everything that was due, with or without findings.
    pub last_complete: Option<Timestamp>,
    /// The number of models in each state. Every state has an entry.
    pub models: BTreeMap<ModelState, u64>,
    /// The number of open findings, by severity and rule.
    pub findings: BTreeMap<(Severity, String), u64>,
    /// The time of the oldest last deep check; null if no model was ever deeply checked.
    pub oldest_deep_check: Option<Timestamp>,
    /// The number of models that were never deeply checked.
    pub never_deep_checked: u64,
    /// The number of models without a signature.
    pub unsigned: u64,
    /// The number of models without a seal.
    pub unsealed: u64,
    /// The number of bytes that all scans read together.
    pub bytes_read: u64,
}

impl RegistrySummary {
    /// Returns the summary of a state without models and scans.
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

    /// Adds `records` to the counts of models and findings. What the summary says about scans is unchanged.
    ///
    /// # Errors
    /// Returns an error if `records` cannot be read.
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

    /// Returns the number of models in this state.
    pub fn in_state(&self, state: ModelState) -> u64 {
        self.models.get(&state).copied().unwrap_or(0)
    }

    /// Returns the number of all models.
    pub fn total(&self) -> u64 {
        self.models.values().sum()
    }
}

/// A sequence of models that reports are written from. It is visited one model at a time, since it may not fit in
/// memory.
pub trait ModelRecords {
    /// Calls `each` for every model, ordered by source and name.
    ///
    /// # Errors
    /// Returns the first error of `each`, or an error if the models cannot be read.
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
    fn names_are_distinct_and_read_back() {
        for state in ModelState::ALL {
            assert_eq!(ModelState::from_name(state.name()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        for outcome in RunOutcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }

    #[test]
    fn a_clock_that_was_set_back_gives_no_negative_duration() {
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
