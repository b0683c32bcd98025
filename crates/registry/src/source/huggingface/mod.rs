//! The cache of `huggingface_hub`, offline: every blob is held to its own name.
//!
//! A repository `models--ORG--NAME` has `refs/` (a file each, holding a commit), `snapshots/COMMIT/` (links
//! into `blobs/`), `blobs/` (named by the SHA-256 of large files and by the id that git gives small ones) and,
//! from version 1 of the hub's client on, `trees/COMMIT.json`: which files the commit has. A snapshot need not
//! have all of them: people download a part.

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

/// How directories of other repositories begin, and what they are.
const OTHERS: [(&str, &str); 2] = [("datasets--", "a data set"), ("spaces--", "a space")];

/// What a repository has at least one of.
const PARTS: [&str; 3] = ["blobs", "refs", "snapshots"];

/// What a directory is that holds a repository of a cache and no model.
pub(super) fn other_repository(place: &Path, name: &str) -> Option<String> {
    let (_, what) = OTHERS.iter().find(|(start, _)| name.starts_with(start))?;
    let is_repository = PARTS.iter().any(|part| place.join(part).is_dir());
    is_repository.then(|| format!("{what}, and no model"))
}

/// See the module.
#[derive(Debug)]
pub struct HuggingFaceCache {
    root: PathBuf,
    name: String,
}

impl HuggingFaceCache {
    /// The cache at `root`: its `hub` directory, or the one that holds it.
    ///
    /// # Errors
    /// When it cannot be listed, or its path is not UTF-8.
    pub fn new(root: &Path) -> Result<HuggingFaceCache, SourceError> {
        let mut root = fs::canonicalize(root).map_err(|error| OpenError::new(root, error))?;
        if !holds_repositories(&root) && root.join("hub").is_dir() {
            root.push("hub");
        }
        let Some(name) = root.to_str() else {
            let why = "its path is not UTF-8: a report cannot name it".to_owned();
            return Err(SourceError::Invalid { source_name: root.display().to_string(), why });
        };
        let name = name.to_owned();
        Ok(HuggingFaceCache { root, name })
    }

    /// Whether a directory is a cache, or holds one.
    pub fn is_at(path: &Path) -> bool {
        holds_repositories(path) || holds_repositories(&path.join("hub"))
    }
}

/// Whether there is a repository of a model in a directory.
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
                        false => each(ListedModel::skipped(directory, "nothing of it is here")),
                    }
                }
                // What is hidden is the client's own.
                _ if directory.starts_with('.') || !(kind.is_dir() || kind.is_symlink()) => {
                    continue;
                }
                _ => {
                    let why = other_repository(&place, &directory).unwrap_or_else(|| {
                        "no repository of the cache: name it as a source of its own".to_owned()
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
