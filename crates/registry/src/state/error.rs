//! Why a state cannot be used.

use std::path::PathBuf;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// There is none, where one is needed.
    #[error(
        "{}: there is no state of registries: `tensorseal registry scan` makes one, or name it with --state",
        .0.display()
    )]
    Missing(PathBuf),
    /// Another process writes to it.
    #[error("{}: {holder} is at work with it; wait for it with --wait-lock", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
        /// Who, as far as is known.
        holder: String,
    },
    /// What is there is no state, or not a whole one.
    #[error(
        "{}: {why}; it is left as it is: restore it from a backup, or move it aside, and the next scan starts anew without any memory of what was there",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A later version of the program wrote it.
    #[error("{}: is of format {found}, and this program knows up to {known}: use the program that wrote it", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The last that is known here.
        known: usize,
    },
    /// No space is left.
    #[error("{}: the disk is full; what it held before is intact", .0.display())]
    Full(PathBuf),
    /// No such model.
    #[error("{0}")]
    Unknown(String),
    /// What is asked for cannot be accepted.
    #[error("{0}")]
    NotAcceptable(String),
    /// The directory cannot be made, or the file not be opened.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Anything else that the database says.
    #[error("{}: {source}", path.display())]
    Sql {
        /// The database.
        path: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
}
