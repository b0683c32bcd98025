//! Writes small secret or evidential files atomically, without overwriting anything.

use std::io::{self, Write};
use std::path::Path;
use tensorseal_base::system::{directory_of, set_mode, sync_directory};

/// Writes a new file with these permissions, less the umask: to a temporary file first, so that the new file is
/// complete or does not exist. Fails with [`io::ErrorKind::AlreadyExists`] if the path exists.
pub(super) fn write_new(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let directory = directory_of(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tensorseal-");
    set_mode(&mut builder, mode);
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    // Make the directory entry as durable as the bytes.
    sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_new(&path, 0o600, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = write_new(&path, 0o600, b"two").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
        assert_eq!(directory_of(Path::new("file")), Path::new("."));
    }
}
