//! The error of opening a model.

use super::remote::RemoteError;
use std::io;
use std::path::{Path, PathBuf};
use tensorseal_base::display::display_name;

/// The largest number of files in one model.
pub const MAX_FILES: usize = 100_000;

/// The reason why a model, or a file of a model, cannot be examined at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The path does not exist.
    #[error("{}: no such file or directory", shown(path))]
    NotFound {
        /// The path that does not exist.
        path: PathBuf,
    },
    /// The path may not be read.
    #[error("{}: permission denied", shown(path))]
    Permission {
        /// The path that may not be read.
        path: PathBuf,
    },
    /// The path is neither a file nor a directory.
    #[error("{}: is {what}; expected a model file or directory", shown(path))]
    Special {
        /// The path of the special file.
        path: PathBuf,
        /// What the path is: "a named pipe", "a socket" or "a device".
        what: &'static str,
    },
    /// A file changed between the listing of the model and the moment when it was read.
    #[error("{}: changed while it was being read", shown(path))]
    ChangedSinceListing {
        /// The file that changed.
        path: PathBuf,
    },
    /// The model changed between the start and the end of a run.
    #[error(
        "{} changed while the model was being read ({what}); try again when nothing writes to the model",
        shown(path)
    )]
    ChangedDuringRun {
        /// The first path that differs.
        path: PathBuf,
        /// A short description of the change.
        what: &'static str,
    },
    /// The model has more than [`MAX_FILES`] files.
    #[error("{}: has {files} files; the limit is {}", shown(path), MAX_FILES)]
    TooManyFiles {
        /// The path or the name of the model.
        path: PathBuf,
        /// The number of files.
        files: usize,
    },
    /// Any other error of the operating system.
    #[error("{}: {source}", shown(path))]
    Io {
        /// The path that was read.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

fn shown(path: &Path) -> String {
    display_name(&path.to_string_lossy())
}

impl OpenError {
    /// Converts an I/O error on a path that the user named.
    pub fn new(path: &Path, source: io::Error) -> OpenError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => OpenError::NotFound { path },
            io::ErrorKind::PermissionDenied => OpenError::Permission { path },
            _ => OpenError::Io { path, source },
        }
    }

    /// Converts an I/O error on a path that was listed before: if it does not exist any more, it has changed.
    pub fn for_found_path(path: &Path, source: io::Error) -> OpenError {
        if let Some(RemoteError::Changed(_)) = RemoteError::from_io_error(&source) {
            return OpenError::ChangedSinceListing { path: path.to_owned() };
        }
        match source.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::UnexpectedEof => {
                OpenError::ChangedSinceListing { path: path.to_owned() }
            }
            _ if is_loop(&source) => OpenError::ChangedSinceListing { path: path.to_owned() },
            _ => OpenError::new(path, source),
        }
    }
}

/// Whether an error is `ELOOP`: too many links, or a link where none is allowed.
#[cfg(unix)]
pub(crate) fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

#[cfg(not(unix))]
pub(crate) fn is_loop(_: &io::Error) -> bool {
    false
}

/// Whether an error says that a path is longer than the operating system allows.
#[cfg(unix)]
pub(crate) fn is_name_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENAMETOOLONG)
}

#[cfg(not(unix))]
pub(crate) fn is_name_too_long(_: &io::Error) -> bool {
    false
}
