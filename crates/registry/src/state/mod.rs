//! What is remembered of registries: one SQLite database, written by one process at a time.
//!
//! Every step of a scan is one transaction: a process that is killed loses what it had not finished and
//! nothing else. A database that is damaged is refused, never replaced: a scan that forgot everything would
//! call every model new.

mod accept;
mod checks;
mod error;
mod history;
mod journal;
mod lock;
mod lookup;
mod models;
mod packed;
mod records;
mod runs;
mod schema;

pub use accept::AcceptResult;
pub use checks::{CheckRecord, ContentStatus, DeepCheckRecord};
pub use error::StateError;
pub use history::{Acceptance, History, HistoryEvent};
pub use journal::{ModelJournal, Purpose};
pub use lookup::StateFile;
pub use models::{AcceptedBaseline, ModelRow, StoredModel};
pub use packed::FileChangeToken;

use jiff::Timestamp;
use lock::Lock;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A state.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    /// Journals are written from the threads that measure.
    connection: Mutex<Connection>,
    /// None of those who only read.
    _lock: Option<Lock>,
}

impl Database {
    /// Opens the state at `path` to write to it, and makes it where there is none. The second value tells
    /// whether it was made.
    ///
    /// # Errors
    /// See [`StateError`]; [`StateError::Locked`] only without `wait`.
    pub fn open_for_writing(path: &Path, wait: bool) -> Result<(Database, bool), StateError> {
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let failed = |source| StateError::Io { path: directory.to_owned(), source };
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        let lock = Lock::take(path, wait)?;
        let made = schema::make(path)?;
        let database = Self::open(path, Some(lock))?;
        Ok((database, made))
    }

    /// Opens the state at `path`, which must be there, to read from it: also while another process writes.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open_for_reading(path: &Path) -> Result<Database, StateError> {
        match path.try_exists() {
            Ok(false) => return Err(StateError::Missing(path.to_owned())),
            Ok(true) => {}
            Err(source) => return Err(StateError::Io { path: path.to_owned(), source }),
        }
        Self::open(path, None)
    }

    fn open(path: &Path, lock: Option<Lock>) -> Result<Database, StateError> {
        let failed = |error| named(path, error);
        schema::looks_whole(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
        schema::check(&mut connection, path, lock.is_some())?;
        Ok(Database { path: path.to_owned(), connection: Mutex::new(connection), _lock: lock })
    }

    /// Whether another process writes to the state at `path`.
    pub fn has_writer(path: &Path) -> bool {
        lock::is_held(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads something.
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        read(&self.connection()).map_err(|error| named(&self.path, error))
    }

    /// Writes all of it or nothing.
    fn write<T>(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        let mut connection = self.connection();
        let written = connection.transaction().and_then(|transaction| {
            let value = write(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        written.map_err(|error| named(&self.path, error))
    }
}

/// An error of the database, by what it means for whoever runs it.
fn named(path: &Path, source: rusqlite::Error) -> StateError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StateError::Full(path),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StateError::Damaged { path, why: format!("the database is damaged ({source})") }
        }
        _ => match source {
            // What was written by this program does not read as it was written.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => {
                StateError::Damaged { path, why: format!("the database is damaged ({source})") }
            }
            source => StateError::Sql { path, source },
        },
    }
}

/// A time as it is kept.
fn text_of(time: Timestamp) -> String {
    let second = Timestamp::from_second(time.as_second()).unwrap_or(time);
    second.to_string()
}

/// A time as it was kept.
fn time_of(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    let text: String = row.get(column)?;
    text.parse().map_err(unreadable)
}

/// A value that does not read as it was written.
fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}
