//! Reads the history of a model.

use super::{Database, StateError, time_from_row};
use jiff::Timestamp;
use rusqlite::params;
use serde::Serialize;

/// The history of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct History {
    /// The changes, the oldest first.
    pub events: Vec<HistoryEvent>,
    /// The accepted baselines, the oldest first.
    pub baselines: Vec<Acceptance>,
}

/// A change of the state or content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryEvent {
    /// The time of the change.
    pub at: Timestamp,
    /// The number of the scan; null if a user accepted the content.
    pub run: Option<i64>,
    /// The state of the model.
    pub state: String,
    /// The version of the model.
    pub version: Option<String>,
    /// The root of the model.
    pub root: Option<String>,
    /// The change in a sentence.
    pub detail: String,
}

/// An accepted baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acceptance {
    /// The time of the acceptance.
    pub at: Timestamp,
    /// The user who accepted it.
    pub by: String,
    /// The reason of the user.
    pub reason: String,
    /// The version of the model.
    pub version: Option<String>,
    /// The root of the model.
    pub root: String,
}

/// The largest number of changes that are returned.
const MAX_EVENTS: i64 = 1000;

impl Database {
    /// Returns the history of a model with its last 1000 changes; `None` if it was never seen. Models whose removal was
    /// accepted have a history, too.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be read.
    pub fn history(&self, source: &str, name: &str) -> Result<Option<History>, StateError> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT * FROM (SELECT e.* FROM events e JOIN models m ON m.id = e.model
                   WHERE m.source = ?1 AND m.name = ?2 ORDER BY e.id DESC LIMIT ?3) ORDER BY id",
            )?;
            let events = statement.query_map(params![source, name, MAX_EVENTS], |row| {
                Ok(HistoryEvent {
                    at: time_from_row(row, "at")?,
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
                    at: time_from_row(row, "accepted")?,
                    by: row.get("accepted_by")?,
                    reason: row.get("reason")?,
                    version: row.get("version")?,
                    root: row.get("root")?,
                })
            })?;
            let baselines = baselines.collect::<rusqlite::Result<Vec<_>>>()?;
            let is_recorded = !events.is_empty() || !baselines.is_empty();
            Ok(is_recorded.then_some(History { events, baselines }))
        })
    }

    /// Returns the sources in which a model of this name was ever seen.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be read.
    pub fn sources_of(&self, name: &str) -> Result<Vec<String>, StateError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare("SELECT source FROM models WHERE name = ?1 ORDER BY source")?;
            let rows = statement.query_map([name], |row| row.get(0))?;
            rows.collect()
        })
    }
}
