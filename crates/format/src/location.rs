//! Where the bytes of a file are.

use super::remote::RemoteFile;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the bytes of a file are.
#[derive(Debug, Clone)]
pub enum Location {
    /// On this machine; all links are resolved.
    Path(PathBuf),
    /// On another one.
    Remote(Arc<dyn RemoteFile>),
}

impl Location {
    /// The path of a file of this machine.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where it lies on another one.
    pub fn local(&self) -> io::Result<&Path> {
        match self {
            Location::Path(path) => Ok(path),
            Location::Remote(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "it lies on another machine: make a copy of the model first",
            )),
        }
    }

    /// What messages call it: a path, or a URI without credentials.
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
