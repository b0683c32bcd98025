//! Scans sources: lists each model, reads and judges it if it is due, and records the result at once.

mod change;
mod deep;
mod due;
mod listed_digests;
mod model;
mod sidecars;

pub use change::{ModelChange, ModelSnapshot, classify_change, same_content};
pub use deep::{CheckError, CheckOptions, DeepCheck};
pub use due::{DeepCheckSchedule, RotationPart};

use super::source::{ListedModel, Source};
use super::state::{CheckRecord, Database, StateError};
use due::ListingFingerprint;
use jiff::Timestamp;
use model::{CheckTarget, OwnedModelRow};
use std::ops::ControlFlow;
use tensorseal_base::severity::Severity;
use tensorseal_core::judge::Finding;
use tensorseal_core::policy::Pattern;
use tensorseal_core::record::{ModelState, RecordedFinding, RunOutcome, RunRecord, SkippedItems};
use tensorseal_engine::RunError;
use tensorseal_engine::stream::progress::Progress;

/// The number of rows of unchanged models that are written together.
const BATCH: usize = 256;

/// The largest number of errors that a run records.
const MAX_ERRORS: usize = 100;

/// The options and callbacks of a scan.
pub struct Scan<'a> {
    /// The state database.
    pub database: &'a Database,
    /// The models that are read even if their listings did not change.
    pub schedule: DeepCheckSchedule,
    /// How models are read.
    pub check_options: CheckOptions,
    /// The patterns of names of models that are skipped.
    pub exclude: &'a [Pattern],
    /// The lowest severity with which the scan fails.
    pub fail_on: Severity,
    /// The progress display, which can also stop the scan.
    pub progress: &'a Progress,
    /// The clock.
    pub clock: &'a dyn Fn() -> Timestamp,
    /// A callback for each model that was read.
    pub on_checked: &'a mut dyn FnMut(&CheckedModel<'_>),
}

/// A model that was read.
pub struct CheckedModel<'a> {
    /// The name of the source.
    pub source: &'a str,
    /// The model in the listing.
    pub listed: &'a ListedModel,
    /// The state of the model.
    pub state: ModelState,
    /// The state in a sentence.
    pub detail: &'a str,
    /// All current findings, the worst first.
    pub findings: &'a [RecordedFinding],
    /// The findings with their evidence, if the content was judged in this scan.
    pub judged: &'a [Finding],
    /// The result of the deep check.
    pub deep: &'a DeepCheck,
}

/// The result of a scan.
#[derive(Debug)]
pub struct ScanResult {
    /// The record of the scan.
    pub run: RunRecord,
    /// Whether the sources have any model.
    pub has_models: bool,
    /// The entries that are not models or are excluded.
    pub skipped: SkippedItems,
}

/// A scan in progress.
struct ActiveScan<'s, 'a> {
    scan: &'s mut Scan<'a>,
    run: RunRecord,
    skipped: SkippedItems,
    /// The reason to stop: an error of the state database, or an interruption.
    stop: Option<ScanStop>,
}

enum ScanStop {
    Interrupted,
    State(StateError),
}

impl Scan<'_> {
    /// Scans `sources`. The results are recorded even if the scan is interrupted.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the state database cannot be read or written. Errors of sources and models are part of
    /// the record.
    pub fn run(&mut self, sources: &[Box<dyn Source>]) -> Result<ScanResult, StateError> {
        let now = (self.clock)();
        let names: Vec<String> = sources.iter().map(|source| source.name().to_owned()).collect();
        let id = self.database.begin_run(&names, now)?;
        self.database.clear_new(&names)?;
        let run = RunRecord {
            id,
            sources: names,
            started: now,
            ended: None,
            outcome: RunOutcome::Running,
            models: 0,
            deep_checked: 0,
            bytes_read: 0,
            errors: Vec::new(),
        };
        let skipped = SkippedItems::default();
        let mut running = ActiveScan { scan: self, run, skipped, stop: None };
        for source in sources {
            running.source(source.as_ref());
            if running.stop.is_some() {
                break;
            }
        }
        running.finish()
    }
}

impl ActiveScan<'_, '_> {
    fn source(&mut self, source: &dyn Source) {
        let mut seen: Vec<OwnedModelRow> = Vec::new();
        let listed = source.list(&mut |listed| {
            let step = self.step(source, listed, &mut seen);
            match step.and_then(|()| self.flush(source, &mut seen, BATCH)) {
                Ok(()) if self.scan.progress.stopped() => {
                    self.stop = Some(ScanStop::Interrupted);
                    ControlFlow::Break(())
                }
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    self.stop = Some(ScanStop::State(error));
                    ControlFlow::Break(())
                }
            }
        });
        // The rows are written even if the source could not be listed completely.
        if let Err(error) = self.flush(source, &mut seen, 1) {
            self.stop.get_or_insert(ScanStop::State(error));
        }
        match listed {
            // Only a complete listing shows which models are missing.
            Ok(()) if self.stop.is_none() => {
                if let Err(error) = self.missing(source.name()) {
                    self.stop = Some(ScanStop::State(error));
                }
            }
            Ok(()) => {}
            Err(error) => {
                let (name, text) = (source.name(), error.to_string());
                self.record_error(match text.starts_with(name) {
                    true => text,
                    false => format!("{name}: {text}"),
                });
            }
        }
    }

    /// Handles an entry of a listing.
    fn step(
        &mut self,
        source: &dyn Source,
        listed: ListedModel,
        seen: &mut Vec<OwnedModelRow>,
    ) -> Result<(), StateError> {
        if let Some(reason) = self.skip_reason(source, &listed)? {
            tracing::debug!(name = ?listed.name, reason = ?reason, "skipped");
            self.skipped.add(source.name(), listed.name, reason);
            return Ok(());
        }
        self.run.models += 1;
        self.model(source, listed, seen)
    }

    /// Returns the reason why an entry is not read. An entry that was recorded as a model before is always read.
    fn skip_reason(
        &self,
        source: &dyn Source,
        listed: &ListedModel,
    ) -> Result<Option<String>, StateError> {
        if let Some(pattern) = self.exclusion_for(&listed.name) {
            return Ok(Some(format!("excluded by {}", pattern.as_str())));
        }
        let Some(reason) = &listed.not_a_model else { return Ok(None) };
        let is_readable = !listed.files.is_empty();
        let is_recorded = is_readable && {
            self.scan.database.stored_model(source.name(), &listed.name)?.is_some()
        };
        Ok((!is_recorded).then(|| reason.clone()))
    }

    fn exclusion_for(&self, name: &str) -> Option<&Pattern> {
        self.scan.exclude.iter().find(|pattern| pattern.matches(name))
    }

    /// Reads a model if it is due, and otherwise records that it was seen.
    fn model(
        &mut self,
        source: &dyn Source,
        listed: ListedModel,
        seen: &mut Vec<OwnedModelRow>,
    ) -> Result<(), StateError> {
        let fingerprint = ListingFingerprint::from_listed(&listed);
        let database = self.scan.database;
        let stored = database.stored_model(source.name(), &listed.name)?;
        let now = (self.scan.clock)();
        if let Some(stored) = &stored
            && !self.scan.schedule.is_due(stored, source.name(), &fingerprint, now)
        {
            tracing::debug!(model = ?listed.name, "unchanged and not due: skipped");
            seen.push(OwnedModelRow::new(stored.id, &listed, &fingerprint));
            return Ok(());
        }
        let id = match &stored {
            Some(stored) => {
                seen.push(OwnedModelRow::new(stored.id, &listed, &fingerprint));
                self.flush(source, seen, 1)?;
                stored.id
            }
            None => {
                let row = OwnedModelRow::new(0, &listed, &fingerprint);
                database.add(self.run.id, &row.row(source.name()), now)?
            }
        };
        let files = listed.files.len();
        tracing::debug!(model = ?listed.name, files, new = stored.is_none(), "reading");
        let model = CheckTarget {
            source,
            listed: &listed,
            fingerprint: &fingerprint,
            id,
            stored: stored.as_ref(),
        };
        match self.check(&model) {
            Ok(()) => Ok(()),
            Err(CheckError::State(error)) => Err(error),
            // Nothing is recorded, so the model stays due.
            Err(CheckError::Run(RunError::Interrupted)) => Ok(()),
            Err(error) => self.unreadable(&model, &error),
        }
    }

    /// Records that a model could not be checked.
    fn unreadable(
        &mut self,
        model: &CheckTarget<'_>,
        error: &CheckError,
    ) -> Result<(), StateError> {
        let detail = format!("could not be checked: {error}");
        self.record_error(format!("{}: {}: {error}", model.source.name(), model.listed.name));
        let findings = self.scan.database.findings(model.id)?;
        self.scan.database.record(&CheckRecord {
            model: model.id,
            run: self.run.id,
            at: (self.scan.clock)(),
            version: model.listed.version.as_deref(),
            state: ModelState::Incomplete,
            detail: &detail,
            findings: &findings,
            deep: None,
        })
    }

    fn record_error(&mut self, what: String) {
        if self.run.errors.len() < MAX_ERRORS {
            self.run.errors.push(what.replace(['\n', '\r'], " "));
        }
    }

    /// Writes the rows of unchanged models if there are at least `min_rows`.
    fn flush(
        &mut self,
        source: &dyn Source,
        seen: &mut Vec<OwnedModelRow>,
        min_rows: usize,
    ) -> Result<(), StateError> {
        if seen.len() < min_rows {
            return Ok(());
        }
        let rows: Vec<_> = seen.iter().map(|seen| (seen.id, seen.row(source.name()))).collect();
        self.scan.database.update_listed(self.run.id, &rows, (self.scan.clock)())?;
        seen.clear();
        Ok(())
    }

    /// Records the models that are missing in a complete listing.
    fn missing(&mut self, source: &str) -> Result<(), StateError> {
        for (model, name) in self.scan.database.unlisted_models(self.run.id, source)? {
            // Excluded models are not looked for.
            if self.exclusion_for(&name).is_some() {
                continue;
            }
            let detail = "it is no longer in its source";
            let finding = Finding::new("registry/missing", detail);
            self.scan.database.record(&CheckRecord {
                model,
                run: self.run.id,
                at: (self.scan.clock)(),
                version: None,
                state: ModelState::Missing,
                detail,
                findings: &[RecordedFinding::from(&finding)],
                deep: None,
            })?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<ScanResult, StateError> {
        let database = self.scan.database;
        let interrupted = match self.stop.take() {
            Some(ScanStop::State(error)) => {
                // Best effort: the database may not be writable.
                self.run.ended = Some((self.scan.clock)());
                self.run.outcome = RunOutcome::Incomplete;
                self.run.errors.push(error.to_string());
                let _ = database.end_run(&self.run);
                return Err(error);
            }
            Some(ScanStop::Interrupted) => true,
            None => false,
        };
        let worst = database.worst_severity(&self.run.sources)?;
        self.run.ended = Some((self.scan.clock)());
        self.run.outcome = if interrupted {
            RunOutcome::Interrupted
        } else if worst.is_some_and(|worst| worst >= self.scan.fail_on) {
            RunOutcome::Fail
        } else if !self.run.errors.is_empty() {
            RunOutcome::Incomplete
        } else {
            RunOutcome::Pass
        };
        database.end_run(&self.run)?;
        let has_models = self.run.models > 0 || worst.is_some();
        Ok(ScanResult { run: self.run, has_models, skipped: self.skipped })
    }
}
