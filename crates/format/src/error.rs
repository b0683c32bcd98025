//! Why a model, or a file of it, cannot be examined at all.

use super::remote::RemoteError;
use std::io;
use std::path::{Path, PathBuf};
use tensorseal_base::display::display_name;

/// Files of one model.
pub const MAX_FILES: usize = 100_000;

/// A model, or a file of it, that cannot be examined at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing is there.
    #[error("{}: no such file or directory", shown(path))]
    NotFound { path: PathBuf },
    /// May not be read.
    #[error("{}: permission denied", shown(path))]
    Permission { path: PathBuf },
    /// Neither a file nor a directory.
    #[error("{}: is {what}; a model is a file or a directory", shown(path))]
    Special { path: PathBuf, what: &'static str },
    /// It is not what it was a moment ago.
    #[error("{}: changed while it was being read", shown(path))]
    ChangedSinceListing { path: PathBuf },
    /// At the end of a run it is not what it was at the start.
    #[error(
        "{} changed while the model was being read ({what}): nothing can be said of it; try again when it is at rest",
        shown(path)
    )]
    ChangedDuringRun { path: PathBuf, what: &'static str },
    /// A list of files that no model has.
    #[error("{}: has {files} files; no more than {} are looked at", shown(path), MAX_FILES)]
    TooManyFiles { path: PathBuf, files: usize },
    /// Anything else the operating system says.
    #[error("{}: {source}", shown(path))]
    Io { path: PathBuf, source: io::Error },
}

fn shown(path: &Path) -> String {
    display_name(&path.to_string_lossy())
}

impl OpenError {
    /// Of an error on something the user named.
    pub fn new(path: &Path, source: io::Error) -> OpenError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => OpenError::NotFound { path },
            io::ErrorKind::PermissionDenied => OpenError::Permission { path },
            _ => OpenError::Io { path, source },
        }
    }

    /// Of an error on something that was found a moment ago.
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

/// Too many links, or a link where none may be.
#[cfg(unix)]
pub(crate) fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

#[cfg(not(unix))]
pub(crate) fn is_loop(_: &io::Error) -> bool {
    false
}

/// A path that is longer than the operating system takes.
#[cfg(unix)]
pub(crate) fn is_name_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENAMETOOLONG)
}

#[cfg(not(unix))]
pub(crate) fn is_name_too_long(_: &io::Error) -> bool {
    false
}
