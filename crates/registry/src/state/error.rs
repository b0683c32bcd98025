//! Errors of the state database.

use std::fmt;
use std::path::PathBuf;

/// An error of the state database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The database does not exist.
    #[error(
        "{}: no state database: run `tensorseal registry scan` first, or name one with --state",
        .0.display()
    )]
    Missing(PathBuf),
    /// Another process writes to the database.
    #[error("{}: the state database is locked by {holder}: use --wait-lock to wait for it", path.display())]
    Locked {
        /// The path of the database.
        path: PathBuf,
        /// The process that holds the lock, if its id is known.
        holder: String,
    },
    /// The file is not a state database, or is damaged.
    #[error(
        "{}: {reason}; the file was not changed: restore it from a backup, or move it away to start without the records of earlier scans",
        path.display()
    )]
    Damaged {
        /// The path of the database.
        path: PathBuf,
        /// The description of the damage.
        reason: String,
    },
    /// A newer version of the program wrote the database.
    #[error("{}: unsupported format {found} (up to {supported} is supported): update tensorseal", path.display())]
    Newer {
        /// The path of the database.
        path: PathBuf,
        /// The format of the database.
        found: i64,
        /// The newest supported format.
        supported: usize,
    },
    /// The disk is full.
    #[error("{}: the disk is full; the state database is intact", .0.display())]
    Full(PathBuf),
    /// The requested model or source is not in the database.
    #[error("{0}")]
    Unknown(String),
    /// The content of the model cannot be accepted.
    #[error("{0}")]
    NotAcceptable(String),
    /// A file or directory cannot be created, opened or locked.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path of the file or directory.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The database engine reports another error.
    #[error("{}: {source}", path.display())]
    Sql {
        /// The path of the database.
        path: PathBuf,
        /// The error of the database engine.
        source: SqlError,
    },
}

/// An error of the database engine (SQLite).
#[derive(Debug)]
pub struct SqlError(rusqlite::Error);

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SqlError {}
