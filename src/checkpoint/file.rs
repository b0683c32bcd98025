//! Opening the files of a model: never one that is not a regular file, never through a link that
//! was not resolved before.

use super::display::display_name;
use super::{Checkpoint, FileIdentity, Location, ModelFile, RemoteError, RemoteFile};
use crate::system::read_exact_at;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    Changed { path: PathBuf },
    /// At the end of a run it is not what it was at the start.
    #[error(
        "{} changed while the model was being read ({what}): nothing can be said of it; try again when it is at rest",
        shown(path)
    )]
    Unsettled { path: PathBuf, what: &'static str },
    /// A list of files that no model has.
    #[error(
        "{}: has {files} files; no more than {} are looked at",
        shown(path),
        super::listing::MAX_FILES
    )]
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
    pub(crate) fn new(path: &Path, source: io::Error) -> OpenError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => OpenError::NotFound { path },
            io::ErrorKind::PermissionDenied => OpenError::Permission { path },
            _ => OpenError::Io { path, source },
        }
    }

    /// Of an error on something that was found a moment ago.
    pub(crate) fn of_found(path: &Path, source: io::Error) -> OpenError {
        if let Some(RemoteError::Changed(_)) = RemoteError::within(&source) {
            return OpenError::Changed { path: path.to_owned() };
        }
        match source.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::UnexpectedEof => OpenError::Changed { path: path.to_owned() },
            _ if is_loop(&source) => OpenError::Changed { path: path.to_owned() },
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

/// The bytes of an opened file.
#[derive(Debug)]
pub(crate) enum Handle {
    /// A file of this machine.
    Local(File),
    /// A file of another one.
    Remote(Arc<dyn RemoteFile>),
}

impl Handle {
    /// Another handle of the same bytes.
    pub fn share(&self) -> io::Result<Handle> {
        Ok(match self {
            Handle::Local(file) => Handle::Local(file.try_clone()?),
            Handle::Remote(file) => Handle::Remote(Arc::clone(file)),
        })
    }
}

/// An opened regular file.
#[derive(Debug)]
pub(crate) struct Opened {
    pub file: Handle,
    pub identity: FileIdentity,
}

/// Opens a file that was found. Nothing is asked of another machine yet.
pub(crate) fn open(location: &Location) -> Result<Opened, OpenError> {
    match location {
        Location::Path(path) => open_local(path),
        Location::Remote(file) => Ok(Opened {
            file: Handle::Remote(Arc::clone(file)),
            identity: FileIdentity::of_length(file.bytes()),
        }),
    }
}

/// Opens a path that was found to be a regular file, all links resolved. Something else swapped in
/// since cannot make it hang or be followed.
fn open_local(location: &Path) -> Result<Opened, OpenError> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC);
    }
    let file = options.open(location).map_err(|error| OpenError::of_found(location, error))?;
    let metadata = file.metadata().map_err(|error| OpenError::of_found(location, error))?;
    if !metadata.is_file() {
        return Err(OpenError::Changed { path: location.to_owned() });
    }
    Ok(Opened { file: Handle::Local(file), identity: FileIdentity::of(&metadata) })
}

/// Reads exactly `bytes` bytes from `offset` on.
pub(crate) fn read_at(file: &Handle, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; bytes];
    fill(file, offset, &mut buffer)?;
    Ok(buffer)
}

/// Fills `buffer` with the bytes from `offset` on.
pub(crate) fn fill(file: &Handle, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    match file {
        Handle::Local(file) => read_exact_at(file, buffer, offset),
        Handle::Remote(file) => {
            let end = offset.checked_add(buffer.len() as u64);
            if end.is_none_or(|end| end > file.bytes()) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.read_at(offset, buffer).map_err(io::Error::other)
        }
    }
}

/// A small file of a model, by its path in it; `None`: it is not there, longer than `most`, or not what
/// it was when the model was opened.
pub(crate) fn read_whole(model: &Checkpoint, path: &str, most: u64) -> Option<Vec<u8>> {
    let file = model.own_files().iter().find(|file| file.path == path)?;
    if file.bytes > most { None } else { read_range(file, 0, file.bytes) }
}

/// A part of a file of a model that the caller knows to be small; `None` as above.
pub(crate) fn read_range(file: &ModelFile, offset: u64, bytes: u64) -> Option<Vec<u8>> {
    let opened = open(&file.location).ok()?;
    if opened.identity != file.identity || offset.checked_add(bytes)? > file.bytes {
        return None;
    }
    read_at(&opened.file, offset, usize::try_from(bytes).ok()?).ok()
}

impl FileIdentity {
    /// The identity of an opened file.
    #[cfg(unix)]
    pub fn of(metadata: &Metadata) -> FileIdentity {
        use std::os::unix::fs::MetadataExt;
        FileIdentity {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The identity of an opened file.
    #[cfg(not(unix))]
    pub fn of(metadata: &Metadata) -> FileIdentity {
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .map_or((0, 0), |t| (t.as_secs() as i64, i64::from(t.subsec_nanos())));
        FileIdentity { device: 0, inode: 0, bytes: metadata.len(), modified, changed: (0, 0) }
    }
}

impl FileIdentity {
    /// The identity of a file of which nothing but the length is known.
    pub(crate) fn of_length(bytes: u64) -> FileIdentity {
        FileIdentity { device: 0, inode: 0, bytes, modified: (0, 0), changed: (0, 0) }
    }

    /// In words, what differs; `None` when nothing does.
    pub fn difference(&self, now: &Self) -> Option<&'static str> {
        if (self.device, self.inode) != (now.device, now.inode) {
            Some("another file took its place")
        } else if self.bytes != now.bytes {
            Some("its length changed")
        } else if self.modified != now.modified {
            Some("it was written to")
        } else if self.changed != now.changed {
            Some("its attributes changed")
        } else {
            None
        }
    }
}

/// What something that is neither file nor directory is.
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
    "no regular file"
}
