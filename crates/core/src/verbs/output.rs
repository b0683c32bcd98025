//! Output files of a run.

use super::Error;
use super::locations::relative;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use tempfile::{Builder, NamedTempFile};
use tensorseal_base::system::{directory_of, set_mode};
use tensorseal_engine::stream::copy::CopyError;

/// Checks the output path for a copy of a model.
///
/// # Errors
/// Returns an error if the path exists, is inside the model, or has no existing directory.
pub fn check_copy(model: &Path, output: &Path) -> Result<(), Error> {
    if output.symlink_metadata().is_ok() {
        return Err(CopyError::Exists(output.to_owned()).into());
    }
    if relative(model, output).is_some() {
        return Err(Error::InsideModel { path: output.to_owned(), model: model.to_owned() });
    }
    // Check this before hours of reading.
    let directory = directory_of(output);
    match directory.is_dir() {
        true => Ok(()),
        false => {
            Err(Error::NoDirectory { path: output.to_owned(), directory: directory.to_owned() })
        }
    }
}

/// Writes a file atomically: to a temporary file in the same directory, which is then renamed.
///
/// # Errors
/// Returns the errors of `content` and of the file system.
pub fn write_whole(
    path: &Path,
    content: &dyn Fn(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let file = temporary(path)?;
    let mut out = BufWriter::new(&file);
    content(&mut out)?;
    out.flush()?;
    drop(out);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Creates a temporary file in the directory of `path`.
pub(super) fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".tensorseal-").suffix(".tmp");
    // The permissions of any new file, less the umask.
    set_mode(&mut builder, 0o666);
    builder.tempfile_in(directory_of(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.json");
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        let broken = |out: &mut dyn Write| {
            out.write_all(&[b'x'; 100_000])?;
            assert!(
                !path.exists() || std::fs::read(&path).unwrap() == b"whole",
                "half of it is seen"
            );
            Err(io::Error::other("no room"))
        };
        assert_eq!(write_whole(&path, &broken).unwrap_err().to_string(), "no room");
        assert_eq!(names(), 0, "nothing is left");
        write_whole(&path, &|out| out.write_all(b"whole")).unwrap();
        write_whole(&path, &broken).unwrap_err();
        assert_eq!((std::fs::read(&path).unwrap(), names()), (b"whole".to_vec(), 1));
    }
}
