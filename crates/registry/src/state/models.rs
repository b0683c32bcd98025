//! Reads and writes the rows of models.

use super::packed::{FileChangeToken, unpack_change_tokens, unpack_seal};
use super::runs::stored_count;
use super::{Database, StateError, time_to_text, unreadable};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use tensorseal_core::record::{ModelState, RecordedFinding};
use tensorseal_core::seal::Seal;

/// A listed model, as it is stored in its row.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRow<'a> {
    /// The name of the source.
    pub source: &'a str,
    /// The name of the model in the source.
    pub name: &'a str,
    /// The version.
    pub version: Option<&'a str>,
    /// The number of files.
    pub files: u64,
    /// The total length of the files in bytes.
    pub bytes: u64,
    /// Whether the model has a signature.
    pub signed: bool,
    /// Whether the model has a seal.
    pub sealed: bool,
    /// The digest of the listing.
    pub listing_digest: [u8; 32],
}

/// A recorded model.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredModel {
    /// The number of the row.
    pub id: i64,
    /// The state of the model.
    pub state: ModelState,
    /// The version at the last deep check.
    pub version: Option<String>,
    /// The [digest of the listing](ModelRow::listing_digest) at the last complete deep check.
    pub checked_listing_digest: Option<[u8; 32]>,
    /// The digest of the expectations at the last deep check.
    pub checked_expectations: Option<[u8; 32]>,
    /// The version of the program that judged the model.
    pub checked_tool: Option<String>,
    /// The time of the last deep check.
    pub last_deep_check: Option<Timestamp>,
}

/// The accepted content of a model.
#[derive(Debug)]
pub struct AcceptedBaseline {
    /// The version.
    pub version: Option<String>,
    /// The content.
    pub seal: Seal,
    /// The change tokens of the files when the model last had this content.
    pub change_tokens: Vec<FileChangeToken>,
}

impl Database {
    /// Returns a recorded model; `None` if it was never seen, or if its removal was accepted.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be used.
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
                .query_row([source, name], stored_model_from_row)
                .optional()
        })
    }

    /// Adds the row of a new model, and returns its number. The state of a removed model with this name is reset.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be used.
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
                    stored_count(seen.files),
                    stored_count(seen.bytes),
                    seen.signed,
                    seen.sealed,
                    seen.listing_digest,
                    time_to_text(now),
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

    /// Updates the rows of models that were listed.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be used.
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
                    stored_count(seen.files),
                    stored_count(seen.bytes),
                    seen.signed,
                    seen.sealed,
                    seen.listing_digest,
                    time_to_text(now),
                    run
                ])?;
            }
            Ok(())
        })
    }

    /// Changes the state of new models of these sources to ok, if they were checked.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be used.
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

    /// Returns the accepted content of a model; `None` if there is none.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be used.
    pub fn baseline(&self, model: i64) -> Result<Option<AcceptedBaseline>, StateError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT b.version, b.seal, m.good_marks FROM baselines b JOIN models m ON m.id = b.model
                 WHERE b.model = ?1 AND b.id > m.baselines_after ORDER BY b.id DESC LIMIT 1",
            )?;
            statement
                .query_row([model], |row| {
                    let change_tokens: Option<Vec<u8>> = row.get(2)?;
                    Ok(AcceptedBaseline {
                        version: row.get(0)?,
                        seal: unpack_seal(row.get_ref(1)?.as_blob()?).map_err(unreadable)?,
                        change_tokens: match change_tokens {
                            Some(packed) => unpack_change_tokens(&packed).map_err(unreadable)?,
                            None => Vec::new(),
                        },
                    })
                })
                .optional()
        })
    }

    /// Returns the content of a model at its last deep check, if it is not the accepted content.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be used.
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

    /// Returns the current findings of a model.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be used.
    pub fn findings(&self, model: i64) -> Result<Vec<RecordedFinding>, StateError> {
        self.read(|connection| super::records::findings(connection, model))
    }

    /// Returns the rows and names of the models of a source that the scan `run` did not list.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be used.
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

fn stored_model_from_row(row: &Row<'_>) -> rusqlite::Result<StoredModel> {
    let state: String = row.get("state")?;
    let checked: Option<String> = row.get("last_deep_check")?;
    Ok(StoredModel {
        id: row.get("id")?,
        state: super::records::parse_state(&state)?,
        version: row.get("version")?,
        checked_listing_digest: row.get("checked_mark")?,
        checked_expectations: row.get("checked_claims")?,
        checked_tool: row.get("checked_tool")?,
        last_deep_check: checked.map(|text| text.parse().map_err(unreadable)).transpose()?,
    })
}
