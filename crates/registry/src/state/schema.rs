//! Creates, checks and migrates the tables of the database.

use super::{StateError, state_error};
use rusqlite::Connection;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The application id in the header of the database (`pragma application_id`): `TSLR`.
const APPLICATION: i64 = 0x5453_4c52;

/// The migrations from one format to the next. A database of format n applied had the first n.
const MIGRATIONS: &[&str] = &[include_str!("migrations/1.sql")];

/// The first bytes of every database (SQLite file format, section 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Creates the database if there is no file, and returns whether it was created. It is created atomically.
pub(super) fn create(path: &Path) -> Result<bool, StateError> {
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
    let create_tables = |new: &Path| -> rusqlite::Result<()> {
        let mut connection = Connection::open(new)?;
        connection.pragma_update(None, "application_id", APPLICATION)?;
        migrate(&mut connection, MIGRATIONS)?;
        connection.close().map_err(|(_, error)| error)
    };
    create_tables(&new).map_err(|error| state_error(path, error))?;
    File::open(&new).and_then(|file| file.sync_all()).map_err(failed)?;
    // The lock is held, so no other process creates the file now.
    std::fs::rename(&new, path).map_err(failed)?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(true)
}

/// Refuses files that are not databases. SQLite itself would take an empty file for a new database.
pub(super) fn check_file(path: &Path) -> Result<(), StateError> {
    let failed = |source| StateError::Io { path: path.to_owned(), source };
    let damaged = |reason: &str| {
        let (path, reason) = (path.to_owned(), reason.to_owned());
        StateError::Damaged { path, reason }
    };
    let metadata = path.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(damaged("not a regular file"));
    }
    let mut start = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    match read {
        Ok(()) if start == *MAGIC => Ok(()),
        Ok(()) => Err(damaged("not an SQLite database")),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(damaged("the file is empty or truncated"))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Checks that a database belongs to this program and, for a writer, that its structure is intact, and migrates it.
pub(super) fn check(
    connection: &mut Connection,
    path: &Path,
    writes: bool,
) -> Result<(), StateError> {
    let failed = |error| state_error(path, error);
    let damaged = |reason: String| StateError::Damaged { path: path.to_owned(), reason };
    connection.pragma_update(None, "trusted_schema", false).map_err(failed)?;
    connection.pragma_update(None, "cell_size_check", true).map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if number("application_id").map_err(failed)? != APPLICATION {
        return Err(damaged("the database belongs to another program".to_owned()));
    }
    let format = number("user_version").map_err(failed)?;
    if format > MIGRATIONS.len() as i64 || format < 1 {
        let (path, supported) = (path.to_owned(), MIGRATIONS.len());
        return Err(StateError::Newer { path, found: format, supported });
    }
    if !writes {
        return connection.pragma_update(None, "query_only", true).map_err(failed);
    }
    // An accepted baseline must survive a power failure.
    connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
    let check: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if check != "ok" {
        return Err(damaged(format!("the database is damaged ({})", check.replace('\n', " "))));
    }
    migrate(connection, MIGRATIONS).map_err(failed)
}

/// Applies the missing migrations, each in a separate transaction.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let applied: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (index, migration) in
        migrations.iter().enumerate().skip(usize::try_from(applied).unwrap_or(0))
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

    /// A database of any earlier format gets the missing migrations once, and a failed migration leaves it unchanged.
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
