//! Reads the records for reports.

use super::runs::{last, last_complete, number};
use super::{Database, StateError, time_from_row, unreadable};
use jiff::Timestamp;
use rusqlite::{Connection, Row};
use std::collections::BTreeMap;
use std::io;
use tensorseal_base::severity::Severity;
use tensorseal_core::record::{
    ModelRecord, ModelRecords, ModelState, RecordedFinding, RegistrySummary,
};

impl Database {
    /// Returns the summary of all sources.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be read.
    pub fn summary(&self) -> Result<RegistrySummary, StateError> {
        self.read(summary)
    }

    /// Returns the worst severity among the current findings of the models of these sources.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be read.
    pub fn worst_severity(&self, sources: &[String]) -> Result<Option<Severity>, StateError> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT DISTINCT severity FROM findings WHERE model IN
                   (SELECT id FROM models WHERE source = ?1 AND NOT retired)",
            )?;
            let mut worst = None;
            for source in sources {
                let mut rows = statement.query([source])?;
                while let Some(row) = rows.next()? {
                    let severity: Severity =
                        row.get::<_, String>(0)?.parse().map_err(UnexpectedValue::of)?;
                    worst = worst.max(Some(severity));
                }
            }
            Ok(worst)
        })
    }

    /// Returns a model by its source and name.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be read.
    pub fn model(&self, source: &str, name: &str) -> Result<Option<ModelRecord>, StateError> {
        self.find_model("source = ?1 AND name = ?2", &[source, name])
    }

    /// Returns a model of a Hugging Face cache by its source, repository and commit.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be read.
    pub fn model_of_version(
        &self,
        source: &str,
        repository: &str,
        version: &str,
    ) -> Result<Option<ModelRecord>, StateError> {
        let condition = "source = ?1 AND version = ?3 AND (name = ?2 OR substr(name, 1, length(?2) + 1) = ?2 || '@')";
        self.find_model(condition, &[source, repository, version])
    }

    fn find_model(
        &self,
        condition: &str,
        values: &[&str],
    ) -> Result<Option<ModelRecord>, StateError> {
        self.read(|connection| {
            let sql = format!("SELECT * FROM models WHERE NOT retired AND {condition} LIMIT 1");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(rusqlite::params_from_iter(values))?;
            match rows.next()? {
                Some(row) => Ok(Some(record(connection, row)?)),
                None => Ok(None),
            }
        })
    }
}

impl ModelRecords for Database {
    fn each(&self, each: &mut dyn FnMut(&ModelRecord) -> io::Result<()>) -> io::Result<()> {
        let mut failed = None;
        let read = self.read(|connection| {
            let mut statement = connection
                .prepare("SELECT * FROM models WHERE NOT retired ORDER BY source, name")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if let Err(error) = each(&record(connection, row)?) {
                    failed = Some(error);
                    break;
                }
            }
            Ok(())
        });
        match failed {
            Some(error) => Err(error),
            None => read.map_err(io::Error::other),
        }
    }
}

fn summary(connection: &Connection) -> rusqlite::Result<RegistrySummary> {
    let mut models: BTreeMap<ModelState, u64> =
        ModelState::ALL.into_iter().map(|state| (state, 0)).collect();
    let mut statement = connection
        .prepare("SELECT state, count(*) AS n FROM models WHERE NOT retired GROUP BY state")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        models.insert(parse_state(&row.get::<_, String>(0)?)?, number(row, "n")?);
    }
    let mut findings = BTreeMap::new();
    let mut statement = connection.prepare(
        "SELECT severity, rule, count(*) AS n FROM findings WHERE model IN
           (SELECT id FROM models WHERE NOT retired) GROUP BY severity, rule",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let severity: Severity = row.get::<_, String>(0)?.parse().map_err(UnexpectedValue::of)?;
        findings.insert((severity, row.get(1)?), number(row, "n")?);
    }
    let count = |what: &str| -> rusqlite::Result<u64> {
        let sql = format!("SELECT count(*) AS n FROM models WHERE NOT retired AND {what}");
        connection.query_row(&sql, [], |row| number(row, "n"))
    };
    let oldest: Option<String> = connection.query_row(
        "SELECT min(last_deep_check) FROM models WHERE NOT retired",
        [],
        |row| row.get(0),
    )?;
    Ok(RegistrySummary {
        last_run: last(connection)?,
        last_complete: last_complete(connection)?,
        models,
        findings,
        oldest_deep_check: oldest.map(|text| text.parse().map_err(unreadable)).transpose()?,
        never_deep_checked: count("last_deep_check IS NULL")?,
        unsigned: count("NOT signed")?,
        unsealed: count("NOT sealed")?,
        bytes_read: connection.query_row(
            "SELECT coalesce(sum(bytes_read), 0) AS n FROM runs",
            [],
            |row| number(row, "n"),
        )?,
    })
}

fn record(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<ModelRecord> {
    let state: String = row.get("state")?;
    let checked: Option<String> = row.get("last_deep_check")?;
    let checked: Option<Timestamp> =
        checked.map(|text| text.parse().map_err(unreadable)).transpose()?;
    Ok(ModelRecord {
        source: row.get("source")?,
        name: row.get("name")?,
        version: row.get("version")?,
        state: parse_state(&state)?,
        detail: row.get("detail")?,
        files: number(row, "files")?,
        bytes: number(row, "bytes")?,
        root: row.get("root")?,
        signed: row.get("signed")?,
        sealed: row.get("sealed")?,
        first_seen: time_from_row(row, "first_seen")?,
        last_seen: time_from_row(row, "last_seen")?,
        last_deep_check: checked,
        findings: findings(connection, row.get("id")?)?,
    })
}

pub(super) fn findings(
    connection: &Connection,
    model: i64,
) -> rusqlite::Result<Vec<RecordedFinding>> {
    let mut statement = connection
        .prepare_cached("SELECT body FROM findings WHERE model = ?1 ORDER BY position")?;
    let rows = statement.query_map([model], |row| {
        serde_json::from_str(row.get_ref(0)?.as_str()?).map_err(unreadable)
    })?;
    rows.collect()
}

pub(super) fn parse_state(name: &str) -> rusqlite::Result<ModelState> {
    ModelState::from_name(name)
        .ok_or_else(|| UnexpectedValue::of(format!("unknown state {name:?}")))
}

/// The error for a stored value that this program never writes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UnexpectedValue(String);

impl UnexpectedValue {
    fn of(what: String) -> rusqlite::Error {
        unreadable(UnexpectedValue(what))
    }
}
