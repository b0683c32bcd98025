//! What a check found, written all at once.

use super::packed::{FileChangeToken, pack_change_tokens, pack_seal};
use super::{Database, StateError, journal, text_of, unreadable};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use tensorseal_core::record::{ModelState, RecordedFinding};
use tensorseal_core::seal::Seal;

/// Who accepts what is seen for the first time.
const FIRST_SEEN: &str = "first seen";

/// Who accepts another version of what is accepted.
const SAME_CONTENT: &str = "same content";

/// What a check found.
#[derive(Debug)]
pub struct CheckRecord<'a> {
    /// Row of the model.
    pub model: i64,
    /// The scan.
    pub run: i64,
    /// When.
    pub at: Timestamp,
    /// Its version.
    pub version: Option<&'a str>,
    /// What became of it.
    pub state: ModelState,
    /// The same in a sentence.
    pub detail: &'a str,
    /// What was found.
    pub findings: &'a [RecordedFinding],
    /// Of a model that was read to its end.
    pub deep: Option<DeepCheckRecord<'a>>,
}

/// What every byte of a model gave.
#[derive(Debug)]
pub struct DeepCheckRecord<'a> {
    /// Of all its files, and of what is missing.
    pub listing_digest: [u8; 32],
    /// Of all that it was held to: what was claimed of its files, the seal beside it.
    pub expectations_digest: [u8; 32],
    /// The content.
    pub seal: &'a Seal,
    /// The marks of its files.
    pub change_tokens: &'a [FileChangeToken],
    /// What the content is to the model.
    pub content: ContentStatus,
}

/// What the content of a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentStatus {
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
    /// Keeps what a check found, all of it at once.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn record(&self, checked: &CheckRecord<'_>) -> Result<(), StateError> {
        self.write(|transaction| write_check(transaction, checked))
    }
}

fn write_check(transaction: &Transaction<'_>, checked: &CheckRecord<'_>) -> rusqlite::Result<()> {
    let CheckRecord { model, run, at, version, state, detail, findings, deep } = checked;
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
                    deep.listing_digest,
                    deep.expectations_digest,
                    env!("CARGO_PKG_VERSION"),
                    text_of(*at)
                ],
            )?;
            write_content(transaction, checked, deep)?;
            journal::forget(transaction, *model)?;
        }
    }
    add_event(transaction, checked, root)
}

fn write_content(
    transaction: &Transaction<'_>,
    checked: &CheckRecord<'_>,
    deep: &DeepCheckRecord<'_>,
) -> rusqlite::Result<()> {
    let CheckRecord { model, version, at, .. } = checked;
    let marks = pack_change_tokens(deep.change_tokens).map_err(unreadable)?;
    if deep.content != ContentStatus::Other {
        transaction.execute("DELETE FROM found WHERE model = ?1", [model])?;
    }
    if deep.content == ContentStatus::First {
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
        ContentStatus::First | ContentStatus::Accepted => {
            transaction.execute(
                "UPDATE models SET good_marks = ?2 WHERE id = ?1",
                params![model, marks],
            )?;
            follow_version(transaction, *model, *version, *at)?;
        }
        ContentStatus::Other => {
            let seal = pack_seal(deep.seal).map_err(unreadable)?;
            transaction.execute(
                "INSERT OR REPLACE INTO found (model, version, seal, marks) VALUES (?1, ?2, ?3, ?4)",
                params![model, version, seal, marks],
            )?;
        }
        ContentStatus::Partial => {}
    }
    Ok(())
}

/// A version that has the accepted content is the accepted one from now on: were its content changed later,
/// no version would have moved.
fn follow_version(
    transaction: &Transaction<'_>,
    model: i64,
    version: Option<&str>,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let Some(version) = version else { return Ok(()) };
    transaction.execute(
        "INSERT INTO baselines (model, version, root, seal, accepted, accepted_by, reason)
         SELECT model, ?2, root, seal, ?3, ?4, ?5 FROM baselines
         WHERE id = (SELECT max(id) FROM baselines WHERE model = ?1) AND version IS NOT ?2",
        params![model, version, text_of(at), SAME_CONTENT, "another version of what was accepted"],
    )?;
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
    checked: &CheckRecord<'_>,
    root: Option<&str>,
) -> rusqlite::Result<()> {
    let CheckRecord { model, run, at, version, state, detail, .. } = checked;
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
