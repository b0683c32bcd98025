//! Reads small files in one piece: keys, certificates, claims, policies, signatures.

use crate::system::open_for_reading;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// Opens a regular file. Does not block if the path is a FIFO or a device.
///
/// # Errors
/// Returns an error if the file cannot be opened or is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = open_for_reading(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// Reads a regular file of up to `max` bytes. From a longer file it reads `max + 1` bytes, so that the caller can
/// tell. The bytes are wiped when they are dropped, because the file may hold a secret.
///
/// # Errors
/// Returns the errors of [`open_regular`], and any error from reading the file.
pub fn read_at_most(path: &Path, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::default();
    open_regular(path)?.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_regular_and_not_read_to_no_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"one").unwrap();
        assert!(open_regular(&path).is_ok());
        assert!(open_regular(dir.path()).is_err());
        assert!(open_regular(Path::new("/dev/zero")).is_err());
        let read = |max| read_at_most(&path, max).unwrap().to_vec();
        assert_eq!([read(3), read(1)], [b"one".to_vec(), b"on".to_vec()]);
    }
}
