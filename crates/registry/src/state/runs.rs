//! Reads and writes the records of scans.

use super::{Database, StateError, time_from_row, unreadable};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tensorseal_core::record::{RunOutcome, RunRecord};

impl Database {
    /// Records the start of a scan, and returns its number. Earlier scans without an end are marked as interrupted.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be written.
    pub fn begin_run(&self, sources: &[String], now: Timestamp) -> Result<i64, StateError> {
        let sources = serde_json::json!(sources).to_string();
        self.write(|transaction| {
            transaction
                .execute("UPDATE runs SET outcome = 'interrupted' WHERE ended IS NULL", [])?;
            transaction.execute(
                "INSERT INTO runs (sources, started, outcome) VALUES (?1, ?2, 'running')",
                params![sources, now.to_string()],
            )?;
            Ok(transaction.last_insert_rowid())
        })
    }

    /// Records the end of a scan.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be written.
    pub fn end_run(&self, run: &RunRecord) -> Result<(), StateError> {
        self.write(|transaction| {
            transaction.execute(
                "UPDATE runs SET ended = ?2, outcome = ?3, models = ?4, deep_checked = ?5,
                 bytes_read = ?6, errors = ?7 WHERE id = ?1",
                params![
                    run.id,
                    run.ended.map(|ended| ended.to_string()),
                    run.outcome.name(),
                    stored_count(run.models),
                    stored_count(run.deep_checked),
                    stored_count(run.bytes_read),
                    serde_json::json!(run.errors).to_string(),
                ],
            )?;
            Ok(())
        })
    }

    /// Returns the next part of a rotation, from 0 to `parts - 1`, and advances the rotation.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be written.
    pub fn next_part(&self, parts: u32) -> Result<u32, StateError> {
        self.write(|transaction| {
            let name = format!("rotation of {parts}");
            let last: Option<u32> = transaction
                .query_row("SELECT value FROM settings WHERE name = ?1", [&name], |row| {
                    row.get::<_, String>(0)
                })
                .optional()?
                .and_then(|text| text.parse().ok());
            let next = last.map_or(0, |last| (last + 1) % parts.max(1));
            transaction.execute(
                "INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)",
                params![name, next.to_string()],
            )?;
            Ok(next)
        })
    }
}

/// Returns the last scan.
pub(super) fn last(connection: &Connection) -> rusqlite::Result<Option<RunRecord>> {
    connection.query_row("SELECT * FROM runs ORDER BY id DESC LIMIT 1", [], record).optional()
}

/// Returns the time of the last scan that checked all models that were due.
pub(super) fn last_complete(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .query_row(
            "SELECT ended FROM runs WHERE outcome IN ('pass', 'fail') AND ended IS NOT NULL
             ORDER BY id DESC LIMIT 1",
            [],
            |row| time_from_row(row, "ended"),
        )
        .optional()
}

fn record(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    let list = |column: &str| -> rusqlite::Result<Vec<String>> {
        serde_json::from_str(&row.get::<_, String>(column)?).map_err(unreadable)
    };
    let ended: Option<String> = row.get("ended")?;
    let outcome: String = row.get("outcome")?;
    Ok(RunRecord {
        id: row.get("id")?,
        sources: list("sources")?,
        started: time_from_row(row, "started")?,
        ended: ended.map(|text| text.parse().map_err(unreadable)).transpose()?,
        outcome: RunOutcome::from_name(&outcome).unwrap_or(RunOutcome::Interrupted),
        models: number(row, "models")?,
        deep_checked: number(row, "deep_checked")?,
        bytes_read: number(row, "bytes_read")?,
        errors: list("errors")?,
    })
}

/// Returns the stored form of a count. SQLite has signed integers only.
pub(super) fn stored_count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Reads a stored count.
pub(super) fn number(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(unreadable)
}
