//! Policy files: the parsed policy with its path and digest.

use super::{MAX_BYTES, Policy, PolicyError, PolicyReadError};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tensorseal_base::regular_file;

/// A policy that was read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyFile {
    /// The path of the file.
    pub path: PathBuf,
    /// The SHA-256 of the file.
    pub sha256: [u8; 32],
    /// The parsed policy.
    pub policy: Policy,
}

impl PolicyFile {
    /// Reads a policy of at most [`MAX_BYTES`].
    ///
    /// # Errors
    /// Returns a [`PolicyReadError`] if the file cannot be read, is too large, or is not a valid policy.
    pub fn read(path: &Path) -> Result<Self, PolicyReadError> {
        let owned = || path.to_path_buf();
        let bytes = regular_file::read_at_most(path, MAX_BYTES as u64)
            .map_err(|source| PolicyReadError::Io { path: owned(), source })?;
        if bytes.len() > MAX_BYTES {
            return Err(PolicyReadError::TooLarge { path: owned() });
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| PolicyReadError::NotUtf8 { path: owned(), at: error.valid_up_to() })?;
        let invalid = |error: PolicyError| PolicyReadError::Policy { path: owned(), error };
        let policy = Policy::parse(text).map_err(invalid)?;
        Ok(Self { path: owned(), sha256: Sha256::digest(&bytes).into(), policy })
    }

    /// Resolves a path of the policy, which is relative to the directory of the policy file.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }
}
