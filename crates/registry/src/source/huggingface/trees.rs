//! `trees/COMMIT.json`: which files a commit has, as the client of the hub keeps it.

use super::blobs::{DigestOrigin, FETCH, parse_digest};
use crate::source::ListedDigest;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_base::regular_file;

/// Longest file that is read.
const MAX_LEN: u64 = 64 << 20;

/// The format that is known.
const FORMAT: u64 = 1;

#[derive(Deserialize)]
struct CommitTree {
    format_version: u64,
    files: BTreeMap<String, TreeFile>,
}

/// A file of a commit.
#[derive(Debug, Deserialize)]
pub(super) struct TreeFile {
    /// Its length; of a large file, perhaps that of its pointer.
    size: u64,
    blob_id: String,
    lfs_sha256: Option<String>,
    lfs_size: Option<u64>,
}

impl TreeFile {
    /// Its length in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.lfs_size.unwrap_or(self.size)
    }

    /// What the commit says its digest is.
    pub(super) fn listed_digest(&self) -> Option<ListedDigest> {
        let (algorithm, digits) = match &self.lfs_sha256 {
            Some(digest) => (HashAlgorithm::Sha256, digest),
            None => (HashAlgorithm::GitBlob, &self.blob_id),
        };
        let place = DigestOrigin { name: "the file list of its commit", remedy: FETCH };
        parse_digest(algorithm, digits, place)
    }
}

/// The files of a commit by path; `None`: nobody kept a list, or not one that can be read, as the hub's own
/// client takes it.
pub(super) fn read(repository: &Path, commit: &str) -> Option<BTreeMap<String, TreeFile>> {
    let path = repository.join("trees").join(format!("{commit}.json"));
    let text = regular_file::read_at_most(&path, MAX_LEN).ok()?;
    if text.len() as u64 > MAX_LEN {
        return None;
    }
    let document: CommitTree = serde_json::from_slice(&text).ok()?;
    (document.format_version == FORMAT).then_some(document.files)
}
