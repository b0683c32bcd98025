//! The journal of a deep check in progress, with which an interrupted check can continue.

use super::{Database, StateError};
use rusqlite::{OptionalExtension, Transaction, params};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tensorseal_core::audit::facts_storage;
use tensorseal_core::examine::journal::{Journal, MeasuredObject};
use tensorseal_engine::FileMeasurement;
use tensorseal_engine::stream::plan::{Object, ObjectKind};

/// The time between two writes: the largest amount of work that is lost if the process is killed.
const WRITE_INTERVAL: Duration = Duration::from_secs(2);

/// The purpose for which a model is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To compute its digests only.
    Digest,
    /// To judge it.
    Examine,
}

/// The key of an object: kind, file, offset and length.
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
    /// The time of the last write or, before that, of the first row.
    last_write: Option<Instant>,
    failure: Option<StateError>,
}

enum JournalRow {
    Object { key: ObjectKey, digest: [u8; 32], blocks: Vec<[u8; 32]>, facts: Option<Vec<u8>> },
    File { file: i64, finished: String },
}

impl Database {
    /// Returns the journal of a model for a purpose. `fingerprint` identifies the files and what is measured of them; entries
    /// with other fingerprints are deleted.
    ///
    /// # Errors
    /// Returns a [`StateError`] if the database cannot be written.
    pub fn journal(
        &self,
        model: i64,
        purpose: Purpose,
        fingerprint: [u8; 32],
    ) -> Result<ModelJournal<'_>, StateError> {
        let purpose = purpose as i64;
        self.write(|transaction| {
            for table in ["journal_objects", "journal_files"] {
                transaction.execute(
                    &format!(
                        "DELETE FROM {table} WHERE model = ?1 AND purpose = ?2 AND mark <> ?3"
                    ),
                    params![model, purpose, fingerprint],
                )?;
            }
            Ok(())
        })?;
        let pending = Mutex::default();
        Ok(ModelJournal { database: self, model, purpose, fingerprint, pending })
    }
}

/// Deletes the journal of a model whose check is recorded.
pub(super) fn forget(transaction: &Transaction<'_>, model: i64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM journal_objects WHERE model = ?1", [model])?;
    transaction.execute("DELETE FROM journal_files WHERE model = ?1", [model])?;
    Ok(())
}

impl ModelJournal<'_> {
    /// Closes the journal. If the run did not complete, pending entries are written; otherwise the caller records the result.
    ///
    /// # Errors
    /// Returns the first [`StateError`] of this journal.
    pub fn finish(mut self, completed: bool) -> Result<(), StateError> {
        let pending = std::mem::take(&mut self.pending);
        let PendingRows { rows, failure, .. } =
            pending.into_inner().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(error) => Err(error),
            None if completed => Ok(()),
            None => self.write(&rows),
        }
    }

    fn keep(&self, row: JournalRow) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.rows.push(row);
        let last_write = *pending.last_write.get_or_insert_with(Instant::now);
        if last_write.elapsed() < WRITE_INTERVAL || pending.failure.is_some() {
            return;
        }
        let rows = std::mem::take(&mut pending.rows);
        pending.failure = self.write(&rows).err();
        pending.last_write = Some(Instant::now());
    }

    fn write(&self, rows: &[JournalRow]) -> Result<(), StateError> {
        let Self { model, purpose, fingerprint, .. } = self;
        self.database.write(|transaction| {
            let mut object_row = transaction.prepare_cached(
                "INSERT OR REPLACE INTO journal_objects
                 (model, purpose, mark, kind, file, offset, bytes, digest, blocks, facts)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?;
            let mut file_row = transaction.prepare_cached(
                "INSERT OR REPLACE INTO journal_files (model, purpose, mark, file, finished)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for row in rows {
                match row {
                    JournalRow::Object {
                        key: (kind, file, offset, bytes),
                        digest,
                        blocks,
                        facts,
                    } => {
                        let blocks = blocks.as_flattened();
                        object_row.execute(params![
                            model,
                            purpose,
                            fingerprint,
                            kind,
                            file,
                            offset,
                            bytes,
                            digest,
                            blocks,
                            facts
                        ])?;
                    }
                    JournalRow::File { file, finished } => {
                        file_row.execute(params![model, purpose, fingerprint, file, finished])?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Returns a value that was read. An error is stored_number for [`Self::finish`].
    fn value_or_failure<T>(&self, read: Result<Option<T>, StateError>) -> Option<T> {
        read.unwrap_or_else(|error| {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.failure.get_or_insert(error);
            None
        })
    }
}

impl Journal for ModelJournal<'_> {
    fn object(&self, object: &Object) -> Option<MeasuredObject> {
        let (kind, file, offset, bytes) = key(object)?;
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
                    // An object whose facts cannot be restored is measured again.
                    facts: facts.as_deref().and_then(facts_storage::restore),
                })
            });
            row.optional()
        });
        self.value_or_failure(read)
    }

    fn file(&self, file: usize) -> Option<FileMeasurement> {
        let read = self.database.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT finished FROM journal_files
                 WHERE model = ?1 AND purpose = ?2 AND file = ?3",
            )?;
            let at = params![self.model, self.purpose, stored_number(file as u64)];
            let row = statement.query_row(at, |row| row.get::<_, String>(0));
            row.optional()
        });
        serde_json::from_str(&self.value_or_failure(read)?).ok()
    }

    fn keep_object(&self, object: &Object, measured: &MeasuredObject) {
        let MeasuredObject { digest, blocks, facts } = measured;
        let Some(key) = key(object) else { return };
        // An object that cannot be stored is measured again.
        let Ok(facts) = facts.as_ref().map(facts_storage::store).transpose() else { return };
        self.keep(JournalRow::Object { key, digest: *digest, blocks: blocks.clone(), facts });
    }

    fn keep_file(&self, file: usize, finished: &FileMeasurement) {
        if let (Some(file), Ok(finished)) =
            (stored_number(file as u64), serde_json::to_string(finished))
        {
            self.keep(JournalRow::File { file, finished });
        }
    }
}

fn key(object: &Object) -> Option<ObjectKey> {
    let kind = match object.kind {
        ObjectKind::Tensor(_) => 0,
        ObjectKind::Gap(_) => 1,
        ObjectKind::File(_) => 2,
        ObjectKind::SignedOnly(_) => return None,
    };
    Some((
        kind,
        stored_number(object.file as u64)?,
        stored_number(object.offset)?,
        stored_number(object.bytes)?,
    ))
}

/// Returns the stored form of a number; `None` if it is too large.
fn stored_number(number: u64) -> Option<i64> {
    i64::try_from(number).ok()
}
