//! Reads `trees/COMMIT.json`, in which the client of the hub keeps the list of files of a commit.

use super::blobs::{DOWNLOAD_AGAIN, DigestOrigin, parse_digest};
use crate::source::ListedDigest;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_base::regular_file;

/// The longest file that is read, in bytes.
const MAX_LEN: u64 = 64 << 20;

/// The supported format version.
const FORMAT: u64 = 1;

#[derive(Deserialize)]
struct CommitTree {
    format_version: u64,
    files: BTreeMap<String, TreeFile>,
}

/// A file of a commit.
#[derive(Debug, Deserialize)]
pub(super) struct TreeFile {
    /// The length in bytes. For a large file, it may be that of its pointer.
    size: u64,
    blob_id: String,
    lfs_sha256: Option<String>,
    lfs_size: Option<u64>,
}

impl TreeFile {
    /// Returns the length in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.lfs_size.unwrap_or(self.size)
    }

    /// Returns the digest that the commit states.
    pub(super) fn listed_digest(&self) -> Option<ListedDigest> {
        let (algorithm, digits) = match &self.lfs_sha256 {
            Some(digest) => (HashAlgorithm::Sha256, digest),
            None => (HashAlgorithm::GitBlob, &self.blob_id),
        };
        let origin = DigestOrigin { name: "the file list of its commit", remedy: DOWNLOAD_AGAIN };
        parse_digest(algorithm, digits, origin)
    }
}

/// Returns the files of a commit by path; `None` if there is no list, or the client of the hub would not accept it.
pub(super) fn read(repository: &Path, commit: &str) -> Option<BTreeMap<String, TreeFile>> {
    let path = repository.join("trees").join(format!("{commit}.json"));
    let text = regular_file::read_at_most(&path, MAX_LEN).ok()?;
    if text.len() as u64 > MAX_LEN {
        return None;
    }
    let document: CommitTree = serde_json::from_slice(&text).ok()?;
    (document.format_version == FORMAT).then_some(document.files)
}
