//! What a deep check that is at work has measured, so that one that was killed need not begin anew.

use super::{Database, StateError};
use rusqlite::{OptionalExtension, Transaction, params};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tensorseal_core::audit::facts_storage;
use tensorseal_core::examine::journal::{Journal, MeasuredObject};
use tensorseal_engine::FileMeasurement;
use tensorseal_engine::stream::plan::{Object, ObjectKind};

/// How much work a kill may cost.
const EVERY: Duration = Duration::from_secs(2);

/// What a model is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its digests alone.
    Digest,
    /// All that is judged.
    Examine,
}

/// The place of an object: its kind and file, where it begins and how long it is.
type ObjectKey = (i64, i64, i64, i64);

/// The journal of one model.
pub struct ModelJournal<'a> {
    database: &'a Database,
    model: i64,
    purpose: i64,
    fingerprint: [u8; 32],
    pending: Mutex<PendingRows>,
}

#[derive(Default)]
struct PendingRows {
    rows: Vec<JournalRow>,
    /// When the rows before were written, or the first of these came.
    written: Option<Instant>,
    failure: Option<StateError>,
}

enum JournalRow {
    Object { place: ObjectKey, digest: [u8; 32], blocks: Vec<[u8; 32]>, facts: Option<Vec<u8>> },
    File { file: i64, finished: String },
}

impl Database {
    /// The journal of a model whose files, and what is wanted of them, have this mark; what was kept of other
    /// marks for the same purpose is forgotten.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn journal(
        &self,
        model: i64,
        purpose: Purpose,
        mark: [u8; 32],
    ) -> Result<ModelJournal<'_>, StateError> {
        let purpose = purpose as i64;
        self.write(|transaction| {
            for table in ["journal_objects", "journal_files"] {
                transaction.execute(
                    &format!(
                        "DELETE FROM {table} WHERE model = ?1 AND purpose = ?2 AND mark <> ?3"
                    ),
                    params![model, purpose, mark],
                )?;
            }
            Ok(())
        })?;
        let waiting = Mutex::default();
        Ok(ModelJournal { database: self, model, purpose, fingerprint: mark, pending: waiting })
    }
}

/// Forgets what was measured of a model: it is recorded.
pub(super) fn forget(transaction: &Transaction<'_>, model: i64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM journal_objects WHERE model = ?1", [model])?;
    transaction.execute("DELETE FROM journal_files WHERE model = ?1", [model])?;
    Ok(())
}

impl ModelJournal<'_> {
    /// Ends it after a run that `completed`, whose results are recorded now, or that did not: what is not
    /// written yet is written then.
    ///
    /// # Errors
    /// The first [`StateError`] of all that was asked of it.
    pub fn finish(mut self, completed: bool) -> Result<(), StateError> {
        let waiting = std::mem::take(&mut self.pending);
        let PendingRows { rows, failure, .. } =
            waiting.into_inner().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(error) => Err(error),
            None if completed => Ok(()),
            None => self.write(&rows),
        }
    }

    fn keep(&self, row: JournalRow) {
        let mut waiting = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.rows.push(row);
        let written = *waiting.written.get_or_insert_with(Instant::now);
        if written.elapsed() < EVERY || waiting.failure.is_some() {
            return;
        }
        let rows = std::mem::take(&mut waiting.rows);
        waiting.failure = self.write(&rows).err();
        waiting.written = Some(Instant::now());
    }

    fn write(&self, rows: &[JournalRow]) -> Result<(), StateError> {
        let Self { model, purpose, fingerprint: mark, .. } = self;
        self.database.write(|transaction| {
            let mut object = transaction.prepare_cached(
                "INSERT OR REPLACE INTO journal_objects
                 (model, purpose, mark, kind, file, offset, bytes, digest, blocks, facts)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?;
            let mut whole = transaction.prepare_cached(
                "INSERT OR REPLACE INTO journal_files (model, purpose, mark, file, finished)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for row in rows {
                match row {
                    JournalRow::Object {
                        place: (kind, file, offset, bytes),
                        digest,
                        blocks,
                        facts,
                    } => {
                        let blocks = blocks.as_flattened();
                        object.execute(params![
                            model, purpose, mark, kind, file, offset, bytes, digest, blocks, facts
                        ])?;
                    }
                    JournalRow::File { file, finished } => {
                        whole.execute(params![model, purpose, mark, file, finished])?;
                    }
                }
            }
            Ok(())
        })
    }

    /// What was read; a state that cannot be read is told at the end.
    fn known<T>(&self, read: Result<Option<T>, StateError>) -> Option<T> {
        read.unwrap_or_else(|error| {
            let mut waiting = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.failure.get_or_insert(error);
            None
        })
    }
}

impl Journal for ModelJournal<'_> {
    fn object(&self, object: &Object) -> Option<MeasuredObject> {
        let (kind, file, offset, bytes) = place(object)?;
        let read = self.database.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT digest, blocks, facts FROM journal_objects WHERE model = ?1
                 AND purpose = ?2 AND kind = ?3 AND file = ?4 AND offset = ?5 AND bytes = ?6",
            )?;
            let at = params![self.model, self.purpose, kind, file, offset, bytes];
            let row = statement.query_row(at, |row| {
                let (blocks, facts): (Vec<u8>, Option<Vec<u8>>) = (row.get(1)?, row.get(2)?);
                Ok(MeasuredObject {
                    digest: row.get(0)?,
                    blocks: blocks.as_chunks::<32>().0.to_vec(),
                    // Without those that do not read, it is measured again.
                    facts: facts.as_deref().and_then(facts_storage::restore),
                })
            });
            row.optional()
        });
        self.known(read)
    }

    fn file(&self, file: usize) -> Option<FileMeasurement> {
        let read = self.database.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT finished FROM journal_files
                 WHERE model = ?1 AND purpose = ?2 AND file = ?3",
            )?;
            let at = params![self.model, self.purpose, kept(file as u64)];
            let row = statement.query_row(at, |row| row.get::<_, String>(0));
            row.optional()
        });
        serde_json::from_str(&self.known(read)?).ok()
    }

    fn keep_object(&self, object: &Object, measured: &MeasuredObject) {
        let MeasuredObject { digest, blocks, facts } = measured;
        let Some(place) = place(object) else { return };
        // One that cannot be written is measured again.
        let Ok(facts) = facts.as_ref().map(facts_storage::store).transpose() else { return };
        self.keep(JournalRow::Object { place, digest: *digest, blocks: blocks.clone(), facts });
    }

    fn keep_file(&self, file: usize, finished: &FileMeasurement) {
        if let (Some(file), Ok(finished)) = (kept(file as u64), serde_json::to_string(finished)) {
            self.keep(JournalRow::File { file, finished });
        }
    }
}

fn place(object: &Object) -> Option<ObjectKey> {
    let kind = match object.kind {
        ObjectKind::Tensor(_) => 0,
        ObjectKind::Gap(_) => 1,
        ObjectKind::File(_) => 2,
        ObjectKind::SignedOnly(_) => return None,
    };
    Some((kind, kept(object.file as u64)?, kept(object.offset)?, kept(object.bytes)?))
}

/// A number as it is kept.
fn kept(number: u64) -> Option<i64> {
    i64::try_from(number).ok()
}
