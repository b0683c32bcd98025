//! What a deep check that is at work has measured, so that one that was killed need not begin anew.

use super::{Database, StateError};
use crate::seal::build::{Digested, Journal};
use crate::stream::plan::{Object, ObjectKind};
use rusqlite::params;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much work a kill may cost.
const EVERY: Duration = Duration::from_secs(2);

/// The place of an object: its kind and file, where it begins and how long it is.
type Place = (i64, i64, i64, i64);

/// The journal of one model.
pub struct ModelJournal<'a> {
    database: &'a Database,
    model: i64,
    mark: [u8; 32],
    known: HashMap<Place, Digested>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    rows: Vec<(Place, Digested)>,
    /// When the rows before were written, or the first of these came.
    written: Option<Instant>,
    failure: Option<StateError>,
}

impl Database {
    /// The journal of a model whose files have this mark; what was kept of other marks is forgotten.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn journal(&self, model: i64, mark: [u8; 32]) -> Result<ModelJournal<'_>, StateError> {
        let known = self.write(|transaction| {
            transaction.execute(
                "DELETE FROM journal WHERE model = ?1 AND mark <> ?2",
                params![model, mark],
            )?;
            let mut statement = transaction.prepare(
                "SELECT kind, file, offset, bytes, digest, blocks FROM journal WHERE model = ?1",
            )?;
            let rows = statement.query_map([model], |row| {
                let place = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                let blocks: Vec<u8> = row.get(5)?;
                let (blocks, _) = blocks.as_chunks::<32>();
                Ok((place, Digested { digest: row.get(4)?, blocks: blocks.to_vec() }))
            })?;
            rows.collect::<rusqlite::Result<_>>()
        })?;
        Ok(ModelJournal { database: self, model, mark, known, waiting: Mutex::default() })
    }
}

impl ModelJournal<'_> {
    /// Keeps the rest of what was measured.
    ///
    /// # Errors
    /// The first [`StateError`], also of what was kept before.
    pub fn finish(mut self) -> Result<(), StateError> {
        let waiting = std::mem::take(&mut self.waiting);
        let Waiting { rows, failure, .. } =
            waiting.into_inner().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(error) => Err(error),
            None => self.write(&rows),
        }
    }

    fn write(&self, rows: &[(Place, Digested)]) -> Result<(), StateError> {
        self.database.write(|transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO journal (model, mark, kind, file, offset, bytes, digest, blocks)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?;
            for ((kind, file, offset, bytes), digested) in rows {
                let blocks = digested.blocks.as_flattened();
                let digest = digested.digest;
                insert.execute(params![
                    self.model, self.mark, kind, file, offset, bytes, digest, blocks
                ])?;
            }
            Ok(())
        })
    }
}

impl Journal for ModelJournal<'_> {
    fn known(&self, object: &Object) -> Option<Digested> {
        self.known.get(&place(object)?).cloned()
    }

    fn keep(&self, object: &Object, digested: &Digested) {
        let Some(place) = place(object) else { return };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.rows.push((place, digested.clone()));
        let written = *waiting.written.get_or_insert_with(Instant::now);
        if written.elapsed() < EVERY || waiting.failure.is_some() {
            return;
        }
        let rows = std::mem::take(&mut waiting.rows);
        waiting.failure = self.write(&rows).err();
        waiting.written = Some(Instant::now());
    }
}

fn place(object: &Object) -> Option<Place> {
    let kind = match object.kind {
        ObjectKind::Tensor(_) => 0,
        ObjectKind::Outside(_) => 1,
        ObjectKind::File(_) => 2,
        ObjectKind::Beside(_) => return None,
    };
    let kept = |number: u64| i64::try_from(number).ok();
    Some((kind, kept(object.file as u64)?, kept(object.offset)?, kept(object.bytes)?))
}
