//! The state database: one SQLite file with the records of all scans, written by one process at a time.
//!
//! Every step of a scan is one transaction: a process that is killed loses only the step that it had not finished. A
//! damaged database is refused and never replaced, because a scan without its records would report every model as new.

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

/// An open state database.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    /// The connection. The engine threads write journals through it.
    connection: Mutex<Connection>,
    /// The lock of the writer; `None` for readers.
    _lock: Option<Lock>,
}

impl Database {
    /// Opens the database at `path` for writing, and creates it if it does not exist. The second value states whether it
    /// was created. With `wait`, this waits until no other process writes.
    ///
    /// # Errors
    /// Returns [`StateError::Locked`] if another process writes and `wait` is false, and other variants if the database is
    /// damaged, was written by a newer version, or cannot be opened.
    pub fn open_for_writing(path: &Path, wait: bool) -> Result<(Database, bool), StateError> {
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let failed = |source| StateError::Io { path: directory.to_owned(), source };
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        let lock = Lock::take(path, wait)?;
        let created = schema::create(path)?;
        let database = Self::open(path, Some(lock))?;
        Ok((database, created))
    }

    /// Opens the existing database at `path` for reading. Another process may write at the same time.
    ///
    /// # Errors
    /// Returns [`StateError::Missing`] if there is no database, and other variants if it is damaged, was written by a newer
    /// version, or cannot be opened.
    pub fn open_for_reading(path: &Path) -> Result<Database, StateError> {
        match path.try_exists() {
            Ok(false) => return Err(StateError::Missing(path.to_owned())),
            Ok(true) => {}
            Err(source) => return Err(StateError::Io { path: path.to_owned(), source }),
        }
        Self::open(path, None)
    }

    fn open(path: &Path, lock: Option<Lock>) -> Result<Database, StateError> {
        let failed = |error| state_error(path, error);
        schema::check_file(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
        schema::check(&mut connection, path, lock.is_some())?;
        Ok(Database { path: path.to_owned(), connection: Mutex::new(connection), _lock: lock })
    }

    /// Returns whether a process has the database at `path` open for writing.
    pub fn has_writer(path: &Path) -> bool {
        lock::is_held(path)
    }

    /// Returns the path of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs queries.
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        read(&self.connection()).map_err(|error| state_error(&self.path, error))
    }

    /// Runs statements in one transaction.
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
        written.map_err(|error| state_error(&self.path, error))
    }
}

/// Converts an error of SQLite.
fn state_error(path: &Path, source: rusqlite::Error) -> StateError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StateError::Full(path),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StateError::Damaged { path, reason: format!("the database is damaged ({source})") }
        }
        _ => match source {
            // A value does not have the type with which this program writes it.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => {
                StateError::Damaged { path, reason: format!("the database is damaged ({source})") }
            }
            source => StateError::Sql { path, source: source.into() },
        },
    }
}

/// Returns the stored form of a time.
fn time_to_text(time: Timestamp) -> String {
    let second = Timestamp::from_second(time.as_second()).unwrap_or(time);
    second.to_string()
}

/// Parses a stored time.
fn time_from_row(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    let text: String = row.get(column)?;
    text.parse().map_err(unreadable)
}

/// Returns the error for a stored value that cannot be parsed.
fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}
