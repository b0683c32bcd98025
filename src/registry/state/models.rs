//! The rows of models: what is known before a check, and what is written after it.

use super::packed::{FileMark, pack_marks, pack_seal, unpack_marks, unpack_seal};
use super::runs::kept;
use super::{Database, StateError, text_of, unreadable};
use crate::registry::record::{RecordedFinding, State};
use crate::seal::Seal;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};

/// Who accepts what is seen for the first time.
const FIRST_SEEN: &str = "first seen";

/// A model as it was listed, for its row.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen<'a> {
    /// The source.
    pub source: &'a str,
    /// Its name there.
    pub name: &'a str,
    /// Its version.
    pub version: Option<&'a str>,
    /// Number of its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether there is a signature with it.
    pub signed: bool,
    /// Whether there is a seal with it.
    pub sealed: bool,
    /// Of all its files, and of what is missing.
    pub mark: [u8; 32],
}

/// What is known of a model that is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Number of its row.
    pub id: i64,
    /// What became of it.
    pub state: State,
    /// Its version, when it was last deeply checked.
    pub version: Option<String>,
    /// See [`Seen::mark`]: when it was last deeply checked to the end.
    pub checked_mark: Option<[u8; 32]>,
    /// What its source claimed then.
    pub checked_claims: Option<[u8; 32]>,
    /// Version of the program that judged it.
    pub checked_tool: Option<String>,
    /// When that was.
    pub last_deep_check: Option<Timestamp>,
}

/// The content that a model is held to.
#[derive(Debug)]
pub struct Baseline {
    /// Its version.
    pub version: Option<String>,
    /// The content.
    pub seal: Seal,
    /// The marks of its files when its content was last this one.
    pub marks: Vec<FileMark>,
}

/// What a check found.
#[derive(Debug)]
pub struct Checked<'a> {
    /// Row of the model.
    pub model: i64,
    /// The scan.
    pub run: i64,
    /// When.
    pub at: Timestamp,
    /// Its version.
    pub version: Option<&'a str>,
    /// What became of it.
    pub state: State,
    /// The same in a sentence.
    pub detail: &'a str,
    /// What was found.
    pub findings: &'a [RecordedFinding],
    /// Of a model that was read to its end.
    pub deep: Option<Deep<'a>>,
}

/// What every byte of a model gave.
#[derive(Debug)]
pub struct Deep<'a> {
    /// See [`Seen::mark`].
    pub mark: [u8; 32],
    /// Of the claims of its source.
    pub claims: [u8; 32],
    /// The content.
    pub seal: &'a Seal,
    /// The marks of its files.
    pub marks: &'a [FileMark],
    /// What the content is to the model.
    pub content: Content,
}

/// What the content of a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Its baseline from now on: there was none.
    First,
    /// The accepted one.
    Accepted,
    /// Another one, kept until it is accepted.
    Other,
    /// Not all of it: nothing is kept.
    Partial,
}

impl Database {
    /// What is known of a model; `None`: it was never seen, or was accepted as gone.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn known(&self, source: &str, name: &str) -> Result<Option<Known>, StateError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT * FROM models WHERE source = ?1 AND name = ?2 AND NOT retired",
                )?
                .query_row([source, name], known)
                .optional()
        })
    }

    /// A model is there that was not: its row, and whoever had the name before is not remembered.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn add(&self, run: i64, seen: &Seen<'_>, now: Timestamp) -> Result<i64, StateError> {
        self.write(|transaction| {
            transaction.execute(
                "INSERT INTO models (source, name, version, state, detail, files, bytes, signed, sealed,
                   mark, first_seen, last_seen, last_run)
                 VALUES (?1, ?2, ?3, 'new', 'not checked yet', ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)
                 ON CONFLICT (source, name) DO UPDATE SET retired = 0, state = 'new',
                   detail = 'not checked yet', checked_mark = NULL, last_deep_check = NULL,
                   last_seen = excluded.last_seen, last_run = excluded.last_run",
                params![
                    seen.source,
                    seen.name,
                    seen.version,
                    kept(seen.files),
                    kept(seen.bytes),
                    seen.signed,
                    seen.sealed,
                    seen.mark,
                    text_of(now),
                    run
                ],
            )?;
            transaction.query_row(
                "SELECT id FROM models WHERE source = ?1 AND name = ?2",
                [seen.source, seen.name],
                |row| row.get(0),
            )
        })
    }

    /// Models were listed: their rows say so. What was new is not any more, once it was checked.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn see(
        &self,
        run: i64,
        seen: &[(i64, Seen<'_>)],
        now: Timestamp,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            let mut update = transaction.prepare_cached(
                "UPDATE models SET files = ?2, bytes = ?3, signed = ?4, sealed = ?5, mark = ?6,
                   last_seen = ?7, last_run = ?8 WHERE id = ?1",
            )?;
            for (id, seen) in seen {
                update.execute(params![
                    id,
                    kept(seen.files),
                    kept(seen.bytes),
                    seen.signed,
                    seen.sealed,
                    seen.mark,
                    text_of(now),
                    run
                ])?;
            }
            Ok(())
        })
    }

    /// Models of these sources that were new when they were last seen are not any more.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn settle_new(&self, sources: &[String]) -> Result<(), StateError> {
        self.write(|transaction| {
            for source in sources {
                transaction.execute(
                    "DELETE FROM findings WHERE rule = 'registry/new' AND model IN
                       (SELECT id FROM models
                        WHERE source = ?1 AND state = 'new' AND last_deep_check IS NOT NULL)",
                    [source],
                )?;
                transaction.execute(
                    "UPDATE models SET state = 'ok', detail = 'as first seen'
                     WHERE source = ?1 AND state = 'new' AND last_deep_check IS NOT NULL",
                    [source],
                )?;
            }
            Ok(())
        })
    }

    /// The content a model is held to; `None`: none was accepted.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn baseline(&self, model: i64) -> Result<Option<Baseline>, StateError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT b.version, b.seal, m.good_marks FROM baselines b JOIN models m ON m.id = b.model
                 WHERE b.model = ?1 AND b.id > m.baselines_after ORDER BY b.id DESC LIMIT 1",
            )?;
            statement
                .query_row([model], |row| {
                    let marks: Option<Vec<u8>> = row.get(2)?;
                    Ok(Baseline {
                        version: row.get(0)?,
                        seal: unpack_seal(row.get_ref(1)?.as_blob()?).map_err(unreadable)?,
                        marks: match marks {
                            Some(marks) => unpack_marks(&marks).map_err(unreadable)?,
                            None => Vec::new(),
                        },
                    })
                })
                .optional()
        })
    }

    /// The content that a model had at its last deep check; `None`: it was not kept.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn content(&self, model: i64) -> Result<Option<Seal>, StateError> {
        let other = self.read(|connection| {
            connection
                .prepare_cached("SELECT seal FROM found WHERE model = ?1")?
                .query_row([model], |row| {
                    unpack_seal(row.get_ref(0)?.as_blob()?).map_err(unreadable)
                })
                .optional()
        })?;
        match other {
            Some(other) => Ok(Some(other)),
            None => Ok(self.baseline(model)?.map(|baseline| baseline.seal)),
        }
    }

    /// The findings that stand of a model.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn findings(&self, model: i64) -> Result<Vec<RecordedFinding>, StateError> {
        self.read(|connection| super::records::findings(connection, model))
    }

    /// Keeps what a check found, all of it at once.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn record(&self, checked: &Checked<'_>) -> Result<(), StateError> {
        self.write(|transaction| write_check(transaction, checked))
    }

    /// Models of a source that were not listed by a scan that listed all of it: their names.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn not_seen(&self, run: i64, source: &str) -> Result<Vec<(i64, String)>, StateError> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT id, name FROM models WHERE source = ?1 AND last_run <> ?2 AND NOT retired
                 ORDER BY name",
            )?;
            let rows =
                statement.query_map(params![source, run], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }
}

fn known(row: &Row<'_>) -> rusqlite::Result<Known> {
    let state: String = row.get("state")?;
    let checked: Option<String> = row.get("last_deep_check")?;
    Ok(Known {
        id: row.get("id")?,
        state: super::records::state_of(&state)?,
        version: row.get("version")?,
        checked_mark: row.get("checked_mark")?,
        checked_claims: row.get("checked_claims")?,
        checked_tool: row.get("checked_tool")?,
        last_deep_check: checked.map(|text| text.parse().map_err(unreadable)).transpose()?,
    })
}

fn write_check(transaction: &Transaction<'_>, checked: &Checked<'_>) -> rusqlite::Result<()> {
    let Checked { model, run, at, version, state, detail, findings, deep } = checked;
    transaction.execute("DELETE FROM findings WHERE model = ?1", [model])?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO findings (model, position, rule, severity, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (position, finding) in findings.iter().enumerate() {
        let body = serde_json::to_string(finding).map_err(unreadable)?;
        let severity = finding.severity.name();
        insert.execute(params![model, position as i64, finding.rule, severity, body])?;
    }
    let root = deep.as_ref().map(|deep| deep.seal.model.root.as_str());
    transaction.execute(
        "UPDATE models SET state = ?2, detail = ?3, last_run = ?4 WHERE id = ?1",
        params![model, state.name(), detail, run],
    )?;
    match deep {
        // It is looked at again, whatever its marks say; what was said of one that is gone is not kept.
        None => {
            transaction.execute(
                "UPDATE models SET checked_mark = NULL,
                   checked_tool = iif(state = 'missing', NULL, checked_tool) WHERE id = ?1",
                [model],
            )?;
        }
        Some(deep) => {
            transaction.execute(
                "UPDATE models SET version = ?2, root = ?3, checked_mark = ?4, checked_claims = ?5,
                   checked_tool = ?6, last_deep_check = ?7 WHERE id = ?1",
                params![
                    model,
                    version,
                    root,
                    deep.mark,
                    deep.claims,
                    env!("CARGO_PKG_VERSION"),
                    text_of(*at)
                ],
            )?;
            write_content(transaction, checked, deep)?;
            transaction.execute("DELETE FROM journal WHERE model = ?1", [model])?;
        }
    }
    add_event(transaction, checked, root)
}

fn write_content(
    transaction: &Transaction<'_>,
    checked: &Checked<'_>,
    deep: &Deep<'_>,
) -> rusqlite::Result<()> {
    let Checked { model, version, at, .. } = checked;
    let marks = pack_marks(deep.marks).map_err(unreadable)?;
    if deep.content != Content::Other {
        transaction.execute("DELETE FROM found WHERE model = ?1", [model])?;
    }
    if deep.content == Content::First {
        let seal = pack_seal(deep.seal).map_err(unreadable)?;
        let reason = "not seen before";
        insert_baseline(
            transaction,
            *model,
            (*version, &deep.seal.model.root, &seal),
            (*at, FIRST_SEEN, reason),
        )?;
    }
    match deep.content {
        Content::First | Content::Accepted => {
            transaction.execute(
                "UPDATE models SET good_marks = ?2 WHERE id = ?1",
                params![model, marks],
            )?;
        }
        Content::Other => {
            let seal = pack_seal(deep.seal).map_err(unreadable)?;
            transaction.execute(
                "INSERT OR REPLACE INTO found (model, version, seal, marks) VALUES (?1, ?2, ?3, ?4)",
                params![model, version, seal, marks],
            )?;
        }
        Content::Partial => {}
    }
    Ok(())
}

/// Adds a baseline: version, root and packed seal; when, who and why.
pub(super) fn insert_baseline(
    transaction: &Transaction<'_>,
    model: i64,
    (version, root, seal): (Option<&str>, &str, &[u8]),
    (at, by, reason): (Timestamp, &str, &str),
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO baselines (model, version, root, seal, accepted, accepted_by, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![model, version, root, seal, text_of(at), by, reason],
    )?;
    Ok(())
}

/// History is of changes: a check that finds all as it was leaves its time in the row of the model.
fn add_event(
    transaction: &Transaction<'_>,
    checked: &Checked<'_>,
    root: Option<&str>,
) -> rusqlite::Result<()> {
    let Checked { model, run, at, version, state, detail, .. } = checked;
    let last: Option<(String, Option<String>, String)> = transaction
        .query_row(
            "SELECT state, root, detail FROM events WHERE model = ?1 ORDER BY id DESC LIMIT 1",
            [model],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let now = (state.name().to_owned(), root.map(str::to_owned), (*detail).to_owned());
    if last.as_ref() == Some(&now) {
        return Ok(());
    }
    transaction.execute(
        "INSERT INTO events (model, run, at, state, version, root, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![model, run, text_of(*at), state.name(), version, root, detail],
    )?;
    Ok(())
}
