//! The rows of models: what is known before a check, and what is written after it.

use super::packed::{FileChangeToken, unpack_change_tokens, unpack_seal};
use super::runs::kept;
use super::{Database, StateError, text_of, unreadable};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use tensorseal_core::record::{ModelState, RecordedFinding};
use tensorseal_core::seal::Seal;

/// A model as it was listed, for its row.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRow<'a> {
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
    pub listing_digest: [u8; 32],
}

/// What is known of a model that is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredModel {
    /// Number of its row.
    pub id: i64,
    /// What became of it.
    pub state: ModelState,
    /// Its version, when it was last deeply checked.
    pub version: Option<String>,
    /// See [`ModelRow::listing_digest`]: when it was last deeply checked to the end.
    pub checked_listing_digest: Option<[u8; 32]>,
    /// A digest of what it was held to then.
    pub checked_expectations: Option<[u8; 32]>,
    /// Version of the program that judged it.
    pub checked_tool: Option<String>,
    /// When that was.
    pub last_deep_check: Option<Timestamp>,
}

/// The content that a model is held to.
#[derive(Debug)]
pub struct AcceptedBaseline {
    /// Its version.
    pub version: Option<String>,
    /// The content.
    pub seal: Seal,
    /// The marks of its files when its content was last this one.
    pub change_tokens: Vec<FileChangeToken>,
}

impl Database {
    /// What is known of a model; `None`: it was never seen, or was accepted as gone.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn stored_model(
        &self,
        source: &str,
        name: &str,
    ) -> Result<Option<StoredModel>, StateError> {
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
    pub fn add(&self, run: i64, seen: &ModelRow<'_>, now: Timestamp) -> Result<i64, StateError> {
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
                    seen.listing_digest,
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
    pub fn update_listed(
        &self,
        run: i64,
        seen: &[(i64, ModelRow<'_>)],
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
                    seen.listing_digest,
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
    pub fn clear_new(&self, sources: &[String]) -> Result<(), StateError> {
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
    pub fn baseline(&self, model: i64) -> Result<Option<AcceptedBaseline>, StateError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT b.version, b.seal, m.good_marks FROM baselines b JOIN models m ON m.id = b.model
                 WHERE b.model = ?1 AND b.id > m.baselines_after ORDER BY b.id DESC LIMIT 1",
            )?;
            statement
                .query_row([model], |row| {
                    let marks: Option<Vec<u8>> = row.get(2)?;
                    Ok(AcceptedBaseline {
                        version: row.get(0)?,
                        seal: unpack_seal(row.get_ref(1)?.as_blob()?).map_err(unreadable)?,
                        change_tokens: match marks {
                            Some(marks) => unpack_change_tokens(&marks).map_err(unreadable)?,
                            None => Vec::new(),
                        },
                    })
                })
                .optional()
        })
    }

    /// The content that a model had at its last deep check, where that is not its baseline.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn unaccepted_content(&self, model: i64) -> Result<Option<Seal>, StateError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT seal FROM found WHERE model = ?1")?
                .query_row([model], |row| {
                    unpack_seal(row.get_ref(0)?.as_blob()?).map_err(unreadable)
                })
                .optional()
        })
    }

    /// The findings that stand of a model.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn findings(&self, model: i64) -> Result<Vec<RecordedFinding>, StateError> {
        self.read(|connection| super::records::findings(connection, model))
    }

    /// Models of a source that were not listed by a scan that listed all of it: their names.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn unlisted_models(
        &self,
        run: i64,
        source: &str,
    ) -> Result<Vec<(i64, String)>, StateError> {
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

fn known(row: &Row<'_>) -> rusqlite::Result<StoredModel> {
    let state: String = row.get("state")?;
    let checked: Option<String> = row.get("last_deep_check")?;
    Ok(StoredModel {
        id: row.get("id")?,
        state: super::records::state_of(&state)?,
        version: row.get("version")?,
        checked_listing_digest: row.get("checked_mark")?,
        checked_expectations: row.get("checked_claims")?,
        checked_tool: row.get("checked_tool")?,
        last_deep_check: checked.map(|text| text.parse().map_err(unreadable)).transpose()?,
    })
}
