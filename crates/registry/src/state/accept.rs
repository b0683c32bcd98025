//! Accepting what a model is now.

use super::checks::insert_baseline;
use super::packed::unpack_seal;
use super::{Database, StateError, named, text_of, unreadable};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use tensorseal_core::record::{ModelRecord, ModelState};

/// What was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptResult {
    /// The root of its tensors; `None`: the model is gone, and that was accepted.
    pub root: Option<String>,
    /// The state it was in.
    pub was: ModelState,
}

impl Database {
    /// Accepts what a model is now, as it was last deeply checked: it is held to that from now on. Of one
    /// that is missing, that it is gone.
    ///
    /// # Errors
    /// [`StateError::NotAcceptable`] where there is nothing to accept, or its source itself says otherwise.
    pub fn accept(
        &self,
        model: &ModelRecord,
        now: Timestamp,
        by: &str,
        reason: &str,
    ) -> Result<AcceptResult, StateError> {
        let refuse = |why: &str| Err(StateError::NotAcceptable(format!("{}: {why}", model.name)));
        if let Some(broken) = model.findings.iter().find(|found| found.contradicts_digest()) {
            return refuse(&format!(
                "{}; what contradicts its own source cannot be accepted",
                broken.message
            ));
        }
        match model.state {
            ModelState::Ok | ModelState::New => {
                return refuse("is what was accepted: there is nothing to accept");
            }
            ModelState::Incomplete => {
                return refuse(&format!("{}; it must be read first", model.detail));
            }
            ModelState::Missing => {}
            ModelState::Modified | ModelState::BitRot | ModelState::Replaced => {}
        }
        let done = {
            let mut connection = self.connection();
            connection.transaction().and_then(|transaction| {
                let id: i64 = transaction.query_row(
                    "SELECT id FROM models WHERE source = ?1 AND name = ?2",
                    [&model.source, &model.name],
                    |row| row.get(0),
                )?;
                let root = match model.state {
                    ModelState::Missing => {
                        retire(&transaction, id, (now, by, reason)).map(|()| None)
                    }
                    _ => promote_to_baseline(&transaction, id, (now, by, reason)).map(Some),
                }?;
                transaction.commit()?;
                Ok(root)
            })
        };
        match done {
            Ok(root) => Ok(AcceptResult { root, was: model.state }),
            Err(error) => Err(named(self.path(), error)),
        }
    }
}

/// It is gone.
fn retire(
    transaction: &Transaction<'_>,
    id: i64,
    (at, by, reason): (Timestamp, &str, &str),
) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM findings WHERE model = ?1", [id])?;
    transaction.execute("DELETE FROM found WHERE model = ?1", [id])?;
    transaction.execute(
        "UPDATE models SET retired = 1, checked_mark = NULL, baselines_after =
           (SELECT coalesce(max(id), 0) FROM baselines) WHERE id = ?1",
        [id],
    )?;
    add_event(transaction, id, at, &format!("accepted as gone by {by}: {reason}"))
}

/// What was found becomes the baseline; what is said of its weights stands.
fn promote_to_baseline(
    transaction: &Transaction<'_>,
    id: i64,
    (at, by, reason): (Timestamp, &str, &str),
) -> rusqlite::Result<String> {
    let found: Option<(Option<String>, Vec<u8>, Vec<u8>)> = transaction
        .query_row("SELECT version, seal, marks FROM found WHERE model = ?1", [id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let (version, packed, marks) = found.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let seal = unpack_seal(&packed).map_err(unreadable)?;
    let root = seal.model.root;
    insert_baseline(transaction, id, (version.as_deref(), &root, &packed), (at, by, reason))?;
    transaction.execute("DELETE FROM found WHERE model = ?1", [id])?;
    transaction.execute(
        "DELETE FROM findings WHERE model = ?1 AND (rule LIKE 'registry/%' OR rule LIKE 'integrity/%')",
        [id],
    )?;
    transaction.execute(
        "UPDATE models SET state = 'ok', detail = ?2, good_marks = ?3 WHERE id = ?1",
        params![id, format!("accepted by {by}: {reason}"), marks],
    )?;
    add_event(transaction, id, at, &format!("accepted by {by}: {reason}"))?;
    Ok(root)
}

fn add_event(
    transaction: &Transaction<'_>,
    id: i64,
    at: Timestamp,
    detail: &str,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO events (model, run, at, state, version, root, detail)
         SELECT id, NULL, ?2, state, version, root, ?3 FROM models WHERE id = ?1",
        params![id, text_of(at), detail],
    )?;
    Ok(())
}
