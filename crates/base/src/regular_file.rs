//! Small files that are read whole: keys, certificates, claims, policies, signatures.

use crate::system::open_for_reading;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// Opens a regular file. A FIFO or a device in its place must not hang.
///
/// # Errors
/// It cannot be opened, or is something else.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = open_for_reading(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// The bytes of a regular file, and of a longer one than `most` one more, so that it can be told. They are
/// wiped when they are let go: it may be a secret.
///
/// # Errors
/// Those of [`open_regular`], and of reading.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::default();
    open_regular(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
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
        let read = |most| read_at_most(&path, most).unwrap().to_vec();
        assert_eq!([read(3), read(1)], [b"one".to_vec(), b"on".to_vec()]);
    }
}
