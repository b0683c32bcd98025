//! The lock file that allows one writer at a time.

use super::StateError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A lock that is held until it is dropped. The operating system releases it when the process ends for any reason.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

impl Lock {
    /// Takes the lock of a database. With `wait`, waits until it is free.
    ///
    /// # Errors
    /// Returns [`StateError::Locked`] if another process holds the lock and `wait` is false, and [`StateError::Io`] if the
    /// lock file cannot be opened.
    pub(super) fn take(database: &Path, wait: bool) -> Result<Lock, StateError> {
        let path = path_of(database);
        let failed = |source| StateError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        if wait {
            file.lock().map_err(failed)?;
        } else {
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&mut file);
                    return Err(StateError::Locked { path: database.to_owned(), holder });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        // The process id is for error messages only; the lock does not depend on it.
        let _ = file.set_len(0);
        let _ = file.rewind();
        let _ = writeln!(file, "{}", std::process::id());
        Ok(Lock(file))
    }
}

/// Returns whether a process holds the lock of a database.
pub(super) fn is_held(database: &Path) -> bool {
    let Ok(file) = File::open(path_of(database)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Returns the path of the lock file. It is separate from the database, which SQLite locks itself.
fn path_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Returns the process that holds the lock, from the content of the lock file.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(20).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) if read.is_ok() => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}
