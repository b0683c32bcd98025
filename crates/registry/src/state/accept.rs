//! Accepts the current content of a model as its baseline.

use super::checks::insert_baseline;
use super::packed::unpack_seal;
use super::{Database, StateError, state_error, time_to_text, unreadable};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use tensorseal_base::display::display_name;
use tensorseal_core::record::{ModelRecord, ModelState, RecordedFinding};

/// The result of an acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptResult {
    /// The root of the accepted content; `None` if the removal of the model was accepted.
    pub root: Option<String>,
    /// The state of the model before.
    pub was: ModelState,
}

impl Database {
    /// Accepts the content of a model at its last deep check as its new baseline. For a missing model, accepts its removal.
    ///
    /// # Errors
    /// Returns [`StateError::NotAcceptable`] if there is nothing to accept or the content contradicts its source, and other
    /// variants if the database cannot be used.
    pub fn accept(
        &self,
        model: &ModelRecord,
        now: Timestamp,
        by: &str,
        reason: &str,
    ) -> Result<AcceptResult, StateError> {
        let refuse =
            |reason: &str| Err(StateError::NotAcceptable(format!("{}: {reason}", model.name)));
        let mut mismatches = model.findings.iter().filter(|found| found.contradicts_digest());
        if let Some(mismatch) = mismatches.next() {
            return refuse(&mismatch_refusal(mismatch, mismatches.count()));
        }
        match model.state {
            ModelState::Ok | ModelState::New => {
                return refuse(
                    "there is nothing to accept: the model matches its accepted baseline",
                );
            }
            ModelState::Incomplete => {
                return refuse(&format!("{}; scan the model again first", model.detail));
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
            Err(error) => Err(state_error(self.path(), error)),
        }
    }
}

/// Returns the reason why content that contradicts its source is not accepted. `more` is the number of further files.
fn mismatch_refusal(mismatch: &RecordedFinding, more: usize) -> String {
    let file = mismatch.file.as_deref().map(display_name).unwrap_or_default();
    let message = &mismatch.message;
    // The message about a stated digest ends with the remedy, that about a layer does not.
    let (what, end) = match mismatch.evidence.contains_key("claimed") {
        true => (format!("{file} {message}"), "it cannot be accepted until then"),
        false => {
            (format!("{file}: {message}"), "a model that contradicts its source cannot be accepted")
        }
    };
    let more = match more {
        0 => String::new(),
        1 => "; 1 more file differs".to_owned(),
        n => format!("; {n} more files differ"),
    };
    format!("{what}{more}; {end}")
}

/// Accepts the removal of a model.
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
    add_event(transaction, id, at, &format!("removal accepted by {by}: {reason}"))
}

/// Makes the content of the last deep check the baseline. The findings about the weights stay.
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
    let (version, packed, change_tokens) = found.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
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
        params![id, format!("accepted by {by}: {reason}"), change_tokens],
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
        params![id, time_to_text(at), detail],
    )?;
    Ok(())
}
