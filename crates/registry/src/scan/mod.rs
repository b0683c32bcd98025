//! A scan: each model of each source is listed, read when it is due, judged, and recorded at once.

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

/// Rows of models that were only seen are written together.
const BATCH: usize = 256;

/// Most sentences that a run keeps of what could not be checked.
const MOST_ERRORS: usize = 100;

/// What a scan is asked for.
pub struct Scan<'a> {
    /// What is remembered.
    pub database: &'a Database,
    /// What is read although nothing moved.
    pub schedule: DeepCheckSchedule,
    /// How it is read.
    pub check_options: CheckOptions,
    /// Names of models that are passed over.
    pub exclude: &'a [Pattern],
    /// The lowest severity that fails it.
    pub fail_on: Severity,
    /// What watches.
    pub progress: &'a Progress,
    /// The time.
    pub clock: &'a dyn Fn() -> Timestamp,
    /// Told of each model that was read.
    pub on_checked: &'a mut dyn FnMut(&CheckedModel<'_>),
}

/// A model that was read.
pub struct CheckedModel<'a> {
    /// Name of the source.
    pub source: &'a str,
    /// As it was listed.
    pub listed: &'a ListedModel,
    /// What became of it.
    pub state: ModelState,
    /// In a sentence.
    pub detail: &'a str,
    /// All findings that stand, worst first.
    pub findings: &'a [RecordedFinding],
    /// As they were judged, of content that was judged now.
    pub judged: &'a [Finding],
    /// What was measured.
    pub deep: &'a DeepCheck,
}

/// What a scan did.
#[derive(Debug)]
pub struct ScanResult {
    /// Its record.
    pub run: RunRecord,
    /// Whether there was any model.
    pub any: bool,
    /// What was there and is no model, or was to be passed over.
    pub passed_over: SkippedItems,
}

/// A run at work.
struct ActiveScan<'s, 'a> {
    scan: &'s mut Scan<'a>,
    run: RunRecord,
    passed_over: SkippedItems,
    /// The state cannot be used any more, or the run is to stop.
    end: Option<ScanStop>,
}

enum ScanStop {
    Interrupted,
    State(StateError),
}

impl Scan<'_> {
    /// Scans `sources`. What was done is recorded even when it is interrupted.
    ///
    /// # Errors
    /// When the state cannot be used. That a source or a model cannot be read is told in the record.
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
        let passed_over = SkippedItems::default();
        let mut running = ActiveScan { scan: self, run, passed_over, end: None };
        for source in sources {
            running.source(source.as_ref());
            if running.end.is_some() {
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
                    self.end = Some(ScanStop::Interrupted);
                    ControlFlow::Break(())
                }
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    self.end = Some(ScanStop::State(error));
                    ControlFlow::Break(())
                }
            }
        });
        // Also of a source that could not be listed to its end.
        if let Err(error) = self.flush(source, &mut seen, 1) {
            self.end.get_or_insert(ScanStop::State(error));
        }
        match listed {
            // Only a whole list tells what is not in it.
            Ok(()) if self.end.is_none() => {
                if let Err(error) = self.missing(source.name()) {
                    self.end = Some(ScanStop::State(error));
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

    /// Whatever a source lists: passed over, or a model.
    fn step(
        &mut self,
        source: &dyn Source,
        listed: ListedModel,
        seen: &mut Vec<OwnedModelRow>,
    ) -> Result<(), StateError> {
        if let Some(reason) = self.skip_reason(source, &listed)? {
            tracing::debug!(name = ?listed.name, reason = ?reason, "skipped");
            self.passed_over.add(source.name(), listed.name, reason);
            return Ok(());
        }
        self.run.models += 1;
        self.model(source, listed, seen)
    }

    /// Why something that a source lists is not read. What was known as a model stays one.
    fn skip_reason(
        &self,
        source: &dyn Source,
        listed: &ListedModel,
    ) -> Result<Option<String>, StateError> {
        if let Some(pattern) = self.exclusion_for(&listed.name) {
            return Ok(Some(format!("excluded by {}", pattern.as_str())));
        }
        let Some(reason) = &listed.not_a_model else { return Ok(None) };
        let can_be_read = !listed.files.is_empty();
        let known = can_be_read && {
            self.scan.database.stored_model(source.name(), &listed.name)?.is_some()
        };
        Ok((!known).then(|| reason.clone()))
    }

    fn exclusion_for(&self, name: &str) -> Option<&Pattern> {
        self.scan.exclude.iter().find(|pattern| pattern.matches(name))
    }

    /// One model: read if it is due, else noted as seen.
    fn model(
        &mut self,
        source: &dyn Source,
        listed: ListedModel,
        seen: &mut Vec<OwnedModelRow>,
    ) -> Result<(), StateError> {
        let marks = ListingFingerprint::from_listed(&listed);
        let database = self.scan.database;
        let known = database.stored_model(source.name(), &listed.name)?;
        let now = (self.scan.clock)();
        if let Some(known) = &known
            && !self.scan.schedule.is_due(known, source.name(), &marks, now)
        {
            tracing::debug!(model = ?listed.name, "unchanged and not due: skipped");
            seen.push(OwnedModelRow::new(known.id, &listed, &marks));
            return Ok(());
        }
        let id = match &known {
            Some(known) => {
                seen.push(OwnedModelRow::new(known.id, &listed, &marks));
                self.flush(source, seen, 1)?;
                known.id
            }
            None => {
                let row = OwnedModelRow::new(0, &listed, &marks);
                database.add(self.run.id, &row.row(source.name()), now)?
            }
        };
        let files = listed.files.len();
        tracing::debug!(model = ?listed.name, files, new = known.is_none(), "reading");
        let model = CheckTarget {
            source,
            listed: &listed,
            fingerprint: &marks,
            id,
            stored: known.as_ref(),
        };
        match self.check(&model) {
            Ok(()) => Ok(()),
            Err(CheckError::State(error)) => Err(error),
            // Nothing is known of it that was not known before; it is due the next time, too.
            Err(CheckError::Run(RunError::Interrupted)) => Ok(()),
            Err(error) => self.unreadable(&model, &error),
        }
    }

    /// A model that could not be checked is not as it was: nobody knows how it is.
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
        if self.run.errors.len() < MOST_ERRORS {
            self.run.errors.push(what.replace(['\n', '\r'], " "));
        }
    }

    /// Writes the rows of models that were only seen, when there are `from` of them.
    fn flush(
        &mut self,
        source: &dyn Source,
        seen: &mut Vec<OwnedModelRow>,
        from: usize,
    ) -> Result<(), StateError> {
        if seen.len() < from {
            return Ok(());
        }
        let rows: Vec<_> = seen.iter().map(|seen| (seen.id, seen.row(source.name()))).collect();
        self.scan.database.update_listed(self.run.id, &rows, (self.scan.clock)())?;
        seen.clear();
        Ok(())
    }

    /// Models that were there and are not in a whole list.
    fn missing(&mut self, source: &str) -> Result<(), StateError> {
        for (model, name) in self.scan.database.unlisted_models(self.run.id, source)? {
            // Nobody looked whether it is there.
            if self.exclusion_for(&name).is_some() {
                continue;
            }
            let detail = "it was there before, and its source does not list it any more";
            let finding = Finding::new("registry/missing", format!("{name}: {detail}"));
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
        let interrupted = match self.end.take() {
            Some(ScanStop::State(error)) => {
                // As far as it can be written at all.
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
        let any = self.run.models > 0 || worst.is_some();
        Ok(ScanResult { run: self.run, any, passed_over: self.passed_over })
    }
}
