//! A policy as a file: what it says, what it is relative to, and which bytes it is.

use super::{MAX_BYTES, Policy, PolicyError, PolicyReadError};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tensorseal_base::regular_file;

/// A policy that was read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyFile {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// What it says.
    pub policy: Policy,
}

impl PolicyFile {
    /// Reads a policy. At most [`MAX_BYTES`] are taken in, whatever the file is.
    ///
    /// # Errors
    /// It cannot be read, is too large, or is no policy.
    pub fn read(path: &Path) -> Result<Self, PolicyReadError> {
        let owned = || path.to_path_buf();
        let bytes = regular_file::read_at_most(path, MAX_BYTES as u64)
            .map_err(|source| PolicyReadError::Io { path: owned(), source })?;
        if bytes.len() > MAX_BYTES {
            return Err(PolicyReadError::TooLarge { path: owned() });
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| PolicyReadError::NotUtf8 { path: owned(), at: error.valid_up_to() })?;
        let wrong = |error: PolicyError| PolicyReadError::Policy { path: owned(), error };
        let policy = Policy::parse(text).map_err(wrong)?;
        Ok(Self { path: owned(), sha256: Sha256::digest(&bytes).into(), policy })
    }

    /// Where a path of the policy leads: paths are relative to the directory that the policy lies in.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }
}
