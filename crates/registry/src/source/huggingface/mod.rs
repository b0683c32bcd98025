//! The cache of `huggingface_hub` as a source. It is read offline, and every blob must have the digest in its name.
//!
//! A repository `models--ORG--NAME` has `refs/` (files that contain a commit), `snapshots/COMMIT/` (links into
//! `blobs/`), `blobs/` (named by the SHA-256 of large files and the git blob id of small ones) and, since version 1 of
//! the client, `trees/COMMIT.json` (the list of files of a commit). A snapshot may have only some of these files, because
//! users download parts.

mod blobs;
pub(super) mod download_metadata;
mod repository;
mod trees;

use super::local::{self, entries};
use super::{ListedModel, OpenedModel, Source, SourceError};
use repository::Repository;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tensorseal_format::OpenError;
use tensorseal_format::hub_cache::{MODELS, is_repository};

/// The prefixes of directories of other repositories, and their descriptions.
const OTHERS: [(&str, &str); 2] = [("datasets--", "a dataset"), ("spaces--", "a space")];

/// The directories of which a repository has at least one.
const PARTS: [&str; 3] = ["blobs", "refs", "snapshots"];

/// Returns the reason why a directory is skipped that holds a repository of another kind than a model.
pub(super) fn other_repository(place: &Path, name: &str) -> Option<String> {
    let (_, what) = OTHERS.iter().find(|(start, _)| name.starts_with(start))?;
    let is_repository = PARTS.iter().any(|part| place.join(part).is_dir());
    is_repository.then(|| format!("{what}, not a model"))
}

/// A Hugging Face cache as a source of models.
#[derive(Debug)]
pub struct HuggingFaceCache {
    root: PathBuf,
    name: String,
}

impl HuggingFaceCache {
    /// Opens the cache at `root`, which is its `hub` directory or the directory above.
    ///
    /// # Errors
    /// Returns [`SourceError::Open`] if `root` cannot be read, and [`SourceError::Invalid`] if its path is not UTF-8.
    pub fn new(root: &Path) -> Result<HuggingFaceCache, SourceError> {
        let mut root = fs::canonicalize(root).map_err(|error| OpenError::new(root, error))?;
        if !holds_repositories(&root) && root.join("hub").is_dir() {
            root.push("hub");
        }
        let Some(name) = root.to_str() else {
            let why = "the path is not UTF-8, so reports cannot name it".to_owned();
            return Err(SourceError::Invalid {
                source_name: root.display().to_string(),
                reason: why,
            });
        };
        let name = name.to_owned();
        Ok(HuggingFaceCache { root, name })
    }

    /// Returns whether a directory is a cache or the directory above one.
    pub fn is_at(path: &Path) -> bool {
        holds_repositories(path) || holds_repositories(&path.join("hub"))
    }
}

/// Returns whether a directory contains a model repository.
fn holds_repositories(directory: &Path) -> bool {
    let Ok((found, _)) = entries(directory) else { return false };
    found.iter().any(|(name, kind)| {
        let place = directory.join(name);
        kind.is_dir() && name.starts_with(MODELS) && is_repository(&place)
    })
}

impl Source for HuggingFaceCache {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(
        &self,
        each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        let (found, _) = entries(&self.root)?;
        for (directory, kind) in found {
            let place = self.root.join(&directory);
            let ended = match directory.strip_prefix(MODELS) {
                Some(id) if kind.is_dir() => {
                    let mut any = false;
                    let mut given = |listed| {
                        any = true;
                        each(listed)
                    };
                    let ended = Repository::new(place, id.replace("--", "/")).list(&mut given)?;
                    match any {
                        true => ended,
                        false => each(ListedModel::skipped(directory, "an empty repository")),
                    }
                }
                // Hidden entries belong to the client.
                _ if directory.starts_with('.') || !(kind.is_dir() || kind.is_symlink()) => {
                    continue;
                }
                _ => {
                    let why = other_repository(&place, &directory).unwrap_or_else(|| {
                        "not a repository of the cache: scan it as a separate source".to_owned()
                    });
                    each(ListedModel::skipped(directory, why))
                }
            };
            if ended.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn open(&self, listed: &ListedModel) -> Result<OpenedModel, SourceError> {
        let id = listed.name.split(['@', '#']).next().unwrap_or_default();
        let directory = format!("{MODELS}{}", id.replace('/', "--"));
        Repository::new(self.root.join(directory), id.to_owned()).open(listed)
    }

    fn ensure_unchanged(&self, listed: &ListedModel) -> Result<(), SourceError> {
        let Some(commit) = &listed.version else { return Ok(()) };
        let id = listed.name.split(['@', '#']).next().unwrap_or_default();
        let directory = format!("{MODELS}{}", id.replace('/', "--"));
        let snapshot = self.root.join(directory).join("snapshots").join(commit);
        local::ensure_sidecars_unchanged(&snapshot, listed)
    }
}
