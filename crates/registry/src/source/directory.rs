//! A directory tree as a source. Every directory that directly contains a model file is a model, with all files below it.

use super::huggingface::download_metadata::DownloadMetadata;
use super::huggingface::other_repository;
use super::local::{self, entries};
use super::model_markers::{is_array, is_model_file, is_model_marker};
use super::{ListedModel, OpenedModel, Source, SourceError};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tensorseal_base::display::quoted;
use tensorseal_format::{Checkpoint, OpenError};

/// The largest depth of a model directory.
const MAX_DEPTH: usize = 64;

/// A directory tree as a source of models.
#[derive(Debug)]
pub struct DirectoryTree {
    root: PathBuf,
    name: String,
}

impl DirectoryTree {
    /// Opens the tree below `root`.
    ///
    /// # Errors
    /// Returns [`SourceError::Open`] if `root` is not a readable directory, and [`SourceError::Invalid`] if its path is not
    /// UTF-8.
    pub fn new(root: &Path) -> Result<DirectoryTree, SourceError> {
        let resolved = fs::canonicalize(root).map_err(|error| OpenError::new(root, error))?;
        let Some(name) = resolved.to_str() else {
            let why = "the path is not UTF-8, so reports cannot name it".to_owned();
            return Err(SourceError::Invalid {
                source_name: root.display().to_string(),
                reason: why,
            });
        };
        let name = name.to_owned();
        fs::read_dir(&resolved).map_err(|error| OpenError::new(root, error))?;
        Ok(DirectoryTree { root: resolved, name })
    }

    fn place(&self, model: &str) -> PathBuf {
        if model == "." { self.root.clone() } else { self.root.join(model) }
    }

    /// Returns the entry for the arrays directly in a directory that has no model file.
    fn arrays(
        &self,
        path: &str,
        found: &[(String, fs::FileType)],
    ) -> Result<Option<ListedModel>, SourceError> {
        let arrays = found.iter().filter(|(name, kind)| !kind.is_dir() && is_array(name)).count();
        if arrays == 0 {
            return Ok(None);
        }
        let listed = match local::list(&self.place(path), &mut |_, _| {}) {
            Ok(listed) => {
                self.with_download_metadata(ListedModel { name: path.to_owned(), ..listed })
            }
            // The arrays are not read, so this error does not matter here.
            Err(_) => ListedModel { name: path.to_owned(), ..ListedModel::default() },
        };
        Ok(Some(listed.into_arrays_only(arrays as u64)))
    }

    /// Returns the reason why a link is skipped, if its target is not listed elsewhere. Links are not followed.
    fn skipped_link(&self, link: &Path) -> Option<String> {
        match fs::canonicalize(link) {
            Err(_) => Some("a broken link".to_owned()),
            Ok(target) if !target.is_dir() || target.starts_with(&self.root) => None,
            Ok(target) => Some(format!(
                "a link to {}, outside of the source: scan that directory as a separate source",
                quoted(&target.to_string_lossy())
            )),
        }
    }

    /// Adds the download metadata as sidecars. They are read when the model is opened.
    fn with_download_metadata(&self, mut listed: ListedModel) -> ListedModel {
        if let Some(metadata) = DownloadMetadata::find(&self.root, &self.place(&listed.name)) {
            listed
                .sidecars
                .extend(listed.files.iter().filter_map(|file| metadata.listed_file(&file.path)));
        }
        listed
    }
}

/// A directory that is still to be listed.
struct Pending {
    path: String,
    depth: usize,
}

impl Source for DirectoryTree {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(
        &self,
        each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        let mut pending = vec![Pending { path: ".".to_owned(), depth: 0 }];
        while let Some(Pending { path, depth }) = pending.pop() {
            let place = self.place(&path);
            let found = match entries(&place) {
                Ok((found, _)) => found,
                // There may be models below the directory.
                Err(error) if depth > 0 => {
                    if each(ListedModel::unreadable(path, error)).is_break() {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let is_marker = |(name, kind): &(String, fs::FileType)| match kind.is_file() {
                true => is_model_file(name, &place.join(name)),
                false => !kind.is_dir() && is_model_marker(name),
            };
            if found.iter().any(is_marker) {
                let listed = match local::list(&place, &mut |_, _| {}) {
                    Ok(listed) => self.with_download_metadata(ListedModel { name: path, ..listed }),
                    Err(error) => ListedModel::unreadable(path, error),
                };
                if each(listed).is_break() {
                    return Ok(());
                }
                continue;
            }
            if depth == MAX_DEPTH {
                let why = format!("directories are nested deeper than {MAX_DEPTH} levels");
                if each(ListedModel::unreadable(path, why)).is_break() {
                    return Ok(());
                }
                continue;
            }
            let below = |name: &str| match path.as_str() {
                "." => name.to_owned(),
                path => format!("{path}/{name}"),
            };
            let mut skipped = Vec::new();
            skipped.extend(self.arrays(&path, &found)?);
            let first = pending.len();
            for (name, kind) in &found {
                let at = place.join(name);
                let why = match kind {
                    kind if kind.is_symlink() => self.skipped_link(&at),
                    kind if !kind.is_dir() || name == ".git" => None,
                    _ => other_repository(&at, name),
                };
                match why {
                    Some(why) => skipped.push(ListedModel::skipped(below(name), why)),
                    None if kind.is_dir() && name != ".git" => {
                        pending.push(Pending { path: below(name), depth: depth + 1 });
                    }
                    None => {}
                }
            }
            // The last entry of the stack is taken first.
            pending[first..].reverse();
            if skipped.into_iter().try_for_each(&mut *each).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn open(&self, listed: &ListedModel) -> Result<OpenedModel, SourceError> {
        let place = self.place(&listed.name);
        let checkpoint = Checkpoint::open(&place, &local::options())?;
        let opened = OpenedModel::from_checkpoint(checkpoint)
            .with_seal(local::seal_location(&place, listed));
        let Some(metadata) = DownloadMetadata::find(&self.root, &place) else { return Ok(opened) };
        let mut files = listed.files.clone();
        for file in &mut files {
            file.digests.extend(metadata.listed_digest(&file.path));
        }
        Ok(OpenedModel { files: Some(files), ..opened })
    }

    fn ensure_unchanged(&self, listed: &ListedModel) -> Result<(), SourceError> {
        local::ensure_sidecars_unchanged(&self.place(&listed.name), listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }

    fn names(root: &Path) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        let tree = DirectoryTree::new(root).unwrap();
        tree.list(&mut |listed| {
            found.push((listed.name, listed.files.len()));
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    /// The topmost directory with a model file is the model. Links do not give further models.
    #[test]
    fn models_of_a_tree() {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "b/pipe/model_index.json",
            "b/pipe/unet/model.safetensors",
            "a/one/model.safetensors",
            "a/one/config.json",
            "a/two/weights/q.gguf",
            "docs/README.md",
            ".git/model.safetensors",
        ] {
            write(root.path(), path);
        }
        std::os::unix::fs::symlink("one", root.path().join("a/three")).unwrap();
        let expected = [("a/one", 2), ("a/two/weights", 1), ("b/pipe", 2)];
        assert_eq!(names(root.path()), expected.map(|(name, files)| (name.to_owned(), files)));
        let alone = names(&root.path().join("a/one"));
        assert_eq!(alone, [(".".to_owned(), 2)], "a tree that is a model itself");
        assert!(DirectoryTree::new(&root.path().join("nothing")).is_err());
    }

    #[test]
    fn signatures_and_seals_are_detected() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "m/model.safetensors");
        let listed = || {
            let mut found = Vec::new();
            let tree = DirectoryTree::new(root.path()).unwrap();
            tree.list(&mut |listed| {
                found.push((listed.signed, listed.sealed, listed.files.len()));
                ControlFlow::Continue(())
            })
            .unwrap();
            found
        };
        assert_eq!(listed(), [(false, false, 1)]);
        write(root.path(), "m/model.sig");
        write(root.path(), "m/tensorseal.seal.json");
        assert_eq!(listed(), [(true, true, 2)]);
    }
}
