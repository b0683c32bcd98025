//! The location of a file.

use super::remote::RemoteFile;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The location of a file.
#[derive(Debug, Clone)]
pub enum Location {
    /// A path on this machine, with all links resolved.
    Path(PathBuf),
    /// A file on another machine.
    Remote(Arc<dyn RemoteFile>),
}

impl Location {
    /// Returns the path of a file on this machine.
    ///
    /// # Errors
    /// Returns [`io::ErrorKind::Unsupported`] if the file is on another machine.
    pub fn local(&self) -> io::Result<&Path> {
        match self {
            Location::Path(path) => Ok(path),
            Location::Remote(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the file is on another machine; copy the model to this machine first",
            )),
        }
    }

    /// The location for messages: a path, or a URI without credentials.
    pub fn display_path(&self) -> PathBuf {
        match self {
            Location::Path(path) => path.clone(),
            Location::Remote(file) => PathBuf::from(file.place()),
        }
    }
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Location::Path(path)
    }
}
