//! What became of a model over time.

use super::{Database, StateError, time_of};
use jiff::Timestamp;
use rusqlite::params;
use serde::Serialize;

/// All that is remembered of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct History {
    /// Changes, oldest first.
    pub events: Vec<HistoryEvent>,
    /// What was accepted, oldest first.
    pub baselines: Vec<Acceptance>,
}

/// A change of state or content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryEvent {
    /// When.
    pub at: Timestamp,
    /// The scan; null: somebody accepted something.
    pub run: Option<i64>,
    /// What it was then.
    pub state: String,
    /// Its version.
    pub version: Option<String>,
    /// The root of its tensors.
    pub root: Option<String>,
    /// In a sentence.
    pub detail: String,
}

/// A baseline that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acceptance {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The version.
    pub version: Option<String>,
    /// The root of its tensors.
    pub root: String,
}

/// Most changes that are told.
const MOST: i64 = 1000;

impl Database {
    /// What is remembered of a model, also of one that was accepted as gone; the last thousand changes.
    /// `None`: it was never seen.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn history(&self, source: &str, name: &str) -> Result<Option<History>, StateError> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT * FROM (SELECT e.* FROM events e JOIN models m ON m.id = e.model
                   WHERE m.source = ?1 AND m.name = ?2 ORDER BY e.id DESC LIMIT ?3) ORDER BY id",
            )?;
            let events = statement.query_map(params![source, name, MOST], |row| {
                Ok(HistoryEvent {
                    at: time_of(row, "at")?,
                    run: row.get("run")?,
                    state: row.get("state")?,
                    version: row.get("version")?,
                    root: row.get("root")?,
                    detail: row.get("detail")?,
                })
            })?;
            let events = events.collect::<rusqlite::Result<Vec<_>>>()?;
            let mut statement = connection.prepare(
                "SELECT b.* FROM baselines b JOIN models m ON m.id = b.model
                 WHERE m.source = ?1 AND m.name = ?2 ORDER BY b.id",
            )?;
            let baselines = statement.query_map([source, name], |row| {
                Ok(Acceptance {
                    at: time_of(row, "accepted")?,
                    by: row.get("accepted_by")?,
                    reason: row.get("reason")?,
                    version: row.get("version")?,
                    root: row.get("root")?,
                })
            })?;
            let baselines = baselines.collect::<rusqlite::Result<Vec<_>>>()?;
            let known = !events.is_empty() || !baselines.is_empty();
            Ok(known.then_some(History { events, baselines }))
        })
    }

    /// The sources in which a model of this name was ever seen.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn sources_of(&self, name: &str) -> Result<Vec<String>, StateError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare("SELECT source FROM models WHERE name = ?1 ORDER BY source")?;
            let rows = statement.query_map([name], |row| row.get(0))?;
            rows.collect()
        })
    }
}
