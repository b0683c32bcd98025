//! Opens the files of a model. Only regular files are opened, and no link that was not resolved before is followed.

use super::error::OpenError;
use super::identity::FileIdentity;
use super::location::Location;
use super::remote::RemoteFile;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tensorseal_base::system::read_exact_at;

/// The bytes of an opened file.
#[derive(Debug)]
pub enum FileHandle {
    /// A file on this machine.
    Local(File),
    /// A file on another machine.
    Remote(Arc<dyn RemoteFile>),
}

impl FileHandle {
    /// Creates another handle for the same file.
    ///
    /// # Errors
    /// Returns an error if the operating system cannot duplicate the handle.
    pub fn try_clone(&self) -> io::Result<FileHandle> {
        Ok(match self {
            FileHandle::Local(file) => FileHandle::Local(file.try_clone()?),
            FileHandle::Remote(file) => FileHandle::Remote(Arc::clone(file)),
        })
    }
}

/// An opened regular file.
#[derive(Debug)]
pub struct OpenedFile {
    /// The handle that the file is read through.
    pub file: FileHandle,
    /// The identity of the file when it was opened.
    pub identity: FileIdentity,
}

/// Opens a file of a model. A file on another machine is not accessed yet.
///
/// # Errors
/// Returns [`OpenError::ChangedSinceListing`] if the path is no longer the regular file that was listed, and other
/// errors if it cannot be opened.
pub fn open(location: &Location) -> Result<OpenedFile, OpenError> {
    match location {
        Location::Path(path) => open_local(path),
        Location::Remote(file) => Ok(OpenedFile {
            file: FileHandle::Remote(Arc::clone(file)),
            identity: FileIdentity::from_length(file.bytes()),
        }),
    }
}

/// Opens a path that was listed as a regular file, with all links resolved. If it was replaced since, the call
/// neither blocks nor follows a link.
fn open_local(location: &Path) -> Result<OpenedFile, OpenError> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC);
    }
    let file =
        options.open(location).map_err(|error| OpenError::for_found_path(location, error))?;
    let metadata = file.metadata().map_err(|error| OpenError::for_found_path(location, error))?;
    if !metadata.is_file() {
        return Err(OpenError::ChangedSinceListing { path: location.to_owned() });
    }
    Ok(OpenedFile { file: FileHandle::Local(file), identity: FileIdentity::of(&metadata) })
}

/// Reads exactly `bytes` bytes from `offset` on.
pub(crate) fn read_at(file: &FileHandle, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; bytes];
    fill(file, offset, &mut buffer)?;
    Ok(buffer)
}

/// Fills `buffer` with the bytes from `offset` on.
///
/// # Errors
/// Returns [`io::ErrorKind::UnexpectedEof`] if the file ends before the buffer is full, and other errors if it
/// cannot be read.
pub fn fill(file: &FileHandle, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    match file {
        FileHandle::Local(file) => read_exact_at(file, buffer, offset),
        FileHandle::Remote(file) => {
            let end = offset.checked_add(buffer.len() as u64);
            if end.is_none_or(|end| end > file.bytes()) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.read_at(offset, buffer).map_err(io::Error::other)
        }
    }
}

/// Describes something that is neither a regular file nor a directory.
pub(crate) fn kind_of_special(kind: std::fs::FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a named pipe";
        } else if kind.is_socket() {
            return "a socket";
        } else if kind.is_block_device() || kind.is_char_device() {
            return "a device";
        }
    }
    let _ = kind;
    "not a regular file"
}
