//! The tables, and bringing those of earlier versions up to date.

use super::{StateError, named};
use rusqlite::Connection;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// `TSLR`: the application id of SQLite's header (`pragma application_id`).
const APPLICATION: i64 = 0x5453_4c52;

/// What brings a database from one format to the next: a database of format n has had the first n.
const MIGRATIONS: &[&str] = &[include_str!("migrations/1.sql")];

/// The first bytes of a database (SQLite file format, section 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Makes the database where there is no file; says whether it did. It is there whole or not at all.
pub(super) fn make(path: &Path) -> Result<bool, StateError> {
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    let failed = |source| StateError::Io { path: path.to_owned(), source };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let place = tempfile::Builder::new()
        .prefix(".tensorseal-")
        .suffix(".tmp")
        .tempdir_in(directory)
        .map_err(failed)?;
    let new = place.path().join("new");
    let made = |new: &Path| -> rusqlite::Result<()> {
        let mut connection = Connection::open(new)?;
        connection.pragma_update(None, "application_id", APPLICATION)?;
        migrate(&mut connection, MIGRATIONS)?;
        connection.close().map_err(|(_, error)| error)
    };
    made(&new).map_err(|error| named(path, error))?;
    File::open(&new).and_then(|file| file.sync_all()).map_err(failed)?;
    // The lock is held: nobody else makes it now.
    std::fs::rename(&new, path).map_err(failed)?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(true)
}

/// Refuses what cannot be a database before SQLite sees it: it takes an empty file for a new one.
pub(super) fn looks_whole(path: &Path) -> Result<(), StateError> {
    let failed = |source| StateError::Io { path: path.to_owned(), source };
    let damaged = |why: &str| StateError::Damaged { path: path.to_owned(), why: why.to_owned() };
    let metadata = path.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(damaged("it is not a file"));
    }
    let mut start = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    match read {
        Ok(()) if start == *MAGIC => Ok(()),
        Ok(()) => Err(damaged("it is not a database of SQLite")),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(damaged("it is empty, or cut short"))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Checks that a database is one of ours, whole in its structure, and brings it up to date for a writer.
pub(super) fn check(
    connection: &mut Connection,
    path: &Path,
    writes: bool,
) -> Result<(), StateError> {
    let failed = |error| named(path, error);
    let damaged = |why: String| StateError::Damaged { path: path.to_owned(), why };
    connection.pragma_update(None, "trusted_schema", false).map_err(failed)?;
    connection.pragma_update(None, "cell_size_check", true).map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if number("application_id").map_err(failed)? != APPLICATION {
        return Err(damaged("it is a database of another program".to_owned()));
    }
    let format = number("user_version").map_err(failed)?;
    if format > MIGRATIONS.len() as i64 || format < 1 {
        let (path, known) = (path.to_owned(), MIGRATIONS.len());
        return Err(StateError::Newer { path, found: format, known });
    }
    if !writes {
        return connection.pragma_update(None, "query_only", true).map_err(failed);
    }
    // Also when the machine loses power: a baseline that was accepted stays accepted.
    connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
    let sound: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if sound != "ok" {
        return Err(damaged(format!("the database is damaged ({})", sound.replace('\n', " "))));
    }
    migrate(connection, MIGRATIONS).map_err(failed)
}

/// Applies the migrations that a database has not had, each in a transaction of its own.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let has: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (index, migration) in migrations.iter().enumerate().skip(usize::try_from(has).unwrap_or(0))
    {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database of any earlier format gets what it lacks, once, and a migration that fails leaves it as it
    /// was.
    #[test]
    fn migrations() {
        let mut connection = Connection::open_in_memory().unwrap();
        let format = |connection: &Connection| -> i64 {
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
        };
        let all = [MIGRATIONS[0], "ALTER TABLE models ADD COLUMN extra TEXT", "CREATE TABLE x (y)"];
        migrate(&mut connection, &all[..1]).unwrap();
        assert_eq!(format(&connection), 1);
        migrate(&mut connection, &all).unwrap();
        migrate(&mut connection, &all).unwrap();
        assert_eq!(format(&connection), 3);
        connection.execute("INSERT INTO x VALUES (1)", []).unwrap();
        let broken = [all[0], all[1], all[2], "CREATE TABLE z (y); CREATE TABLE x (y)"];
        migrate(&mut connection, &broken).unwrap_err();
        assert_eq!(format(&connection), 3);
        connection.execute("SELECT * FROM z", []).unwrap_err();
    }
}
