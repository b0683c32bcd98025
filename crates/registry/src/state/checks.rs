//! Records the result of a check in one transaction.

use super::packed::{FileChangeToken, pack_change_tokens, pack_seal};
use super::{Database, StateError, journal, time_to_text, unreadable};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use tensorseal_core::record::{ModelState, RecordedFinding};
use tensorseal_core::seal::Seal;

/// The `accepted_by` of content that was seen for the first time.
const FIRST_SEEN: &str = "first seen";

/// The `accepted_by` of another version with the accepted content.
const SAME_CONTENT: &str = "same content";

/// The result of a check.
#[derive(Debug)]
pub struct CheckRecord<'a> {
    /// The row of the model.
    pub model: i64,
    /// The number of the scan.
    pub run: i64,
    /// The time of the check.
    pub at: Timestamp,
    /// The version of the model.
    pub version: Option<&'a str>,
    /// The state of the model.
    pub state: ModelState,
    /// The state in a sentence.
    pub detail: &'a str,
    /// The findings.
    pub findings: &'a [RecordedFinding],
    /// The result of the deep check; `None` if the model was not read completely.
    pub deep: Option<DeepCheckRecord<'a>>,
}

/// The result of a deep check.
#[derive(Debug)]
pub struct DeepCheckRecord<'a> {
    /// The digest of the listing.
    pub listing_digest: [u8; 32],
    /// The digest of the expectations: the stated digests of the files, and the seal next to the model.
    pub expectations_digest: [u8; 32],
    /// The content.
    pub seal: &'a Seal,
    /// The change tokens of the files.
    pub change_tokens: &'a [FileChangeToken],
    /// How the content relates to the baseline.
    pub content: ContentStatus,
}

/// How the content of a model relates to its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentStatus {
    /// The first content, which becomes the baseline.
    First,
    /// The accepted content.
    Accepted,
    /// Other content, which is kept until it is accepted.
    Other,
    /// Incomplete or contradictory content, which is not kept.
    Partial,
}

impl Database {
    /// Records the result of a check in one transaction.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be written.
    pub fn record(&self, check: &CheckRecord<'_>) -> Result<(), StateError> {
        self.write(|transaction| write_check(transaction, check))
    }
}

fn write_check(transaction: &Transaction<'_>, check: &CheckRecord<'_>) -> rusqlite::Result<()> {
    let CheckRecord { model, run, at, version, state, detail, findings, deep } = check;
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
        // The model stays due, whatever its change tokens are. The verdict on a missing model is not kept.
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
                    time_to_text(*at)
                ],
            )?;
            write_content(transaction, check, deep)?;
            journal::forget(transaction, *model)?;
        }
    }
    add_event(transaction, check, root)
}

fn write_content(
    transaction: &Transaction<'_>,
    check: &CheckRecord<'_>,
    deep: &DeepCheckRecord<'_>,
) -> rusqlite::Result<()> {
    let CheckRecord { model, version, at, .. } = check;
    let change_tokens = pack_change_tokens(deep.change_tokens).map_err(unreadable)?;
    if deep.content != ContentStatus::Other {
        transaction.execute("DELETE FROM found WHERE model = ?1", [model])?;
    }
    if deep.content == ContentStatus::First {
        let seal = pack_seal(deep.seal).map_err(unreadable)?;
        let reason = "new model";
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
                params![model, change_tokens],
            )?;
            follow_version(transaction, *model, *version, *at)?;
        }
        ContentStatus::Other => {
            let seal = pack_seal(deep.seal).map_err(unreadable)?;
            transaction.execute(
                "INSERT OR REPLACE INTO found (model, version, seal, marks) VALUES (?1, ?2, ?3, ?4)",
                params![model, version, seal, change_tokens],
            )?;
        }
        ContentStatus::Partial => {}
    }
    Ok(())
}

/// Makes a version with the accepted content the accepted version, so that a later change of its content is not taken for
/// a new version.
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
        params![
            model,
            version,
            time_to_text(at),
            SAME_CONTENT,
            "another version with the accepted content"
        ],
    )?;
    Ok(())
}

/// Adds a baseline: version, root and packed seal, then time, user and reason.
pub(super) fn insert_baseline(
    transaction: &Transaction<'_>,
    model: i64,
    (version, root, seal): (Option<&str>, &str, &[u8]),
    (at, by, reason): (Timestamp, &str, &str),
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO baselines (model, version, root, seal, accepted, accepted_by, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![model, version, root, seal, time_to_text(at), by, reason],
    )?;
    Ok(())
}

/// Adds an event if something changed. The time of a check without changes is only in the row of the model.
fn add_event(
    transaction: &Transaction<'_>,
    check: &CheckRecord<'_>,
    root: Option<&str>,
) -> rusqlite::Result<()> {
    let CheckRecord { model, run, at, version, state, detail, .. } = check;
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
        params![model, run, time_to_text(*at), state.name(), version, root, detail],
    )?;
    Ok(())
}
