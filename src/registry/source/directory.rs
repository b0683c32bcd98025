//! A directory tree: every directory that directly holds a file of a model is one, with all below it.

use super::huggingface::notes::Notes;
use super::local::{self, entries};
use super::models::is_model_marker;
use super::{Listed, OpenedModel, Source, SourceError};
use crate::checkpoint::{Checkpoint, OpenError};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// How deep models may lie.
const MAX_DEPTH: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct DirectoryTree {
    root: PathBuf,
    name: String,
}

impl DirectoryTree {
    /// The tree below `root`.
    ///
    /// # Errors
    /// When it is not a directory that can be listed, or its path is not UTF-8.
    pub fn new(root: &Path) -> Result<DirectoryTree, SourceError> {
        let resolved = fs::canonicalize(root).map_err(|error| OpenError::new(root, error))?;
        let Some(name) = resolved.to_str() else {
            let why = "its path is not UTF-8: a report cannot name it".to_owned();
            return Err(SourceError::Invalid { source_name: root.display().to_string(), why });
        };
        let name = name.to_owned();
        fs::read_dir(&resolved).map_err(|error| OpenError::new(root, error))?;
        Ok(DirectoryTree { root: resolved, name })
    }

    fn place(&self, model: &str) -> PathBuf {
        if model == "." { self.root.clone() } else { self.root.join(model) }
    }

    /// Adds that there are notes of a download; what they say is read when the model is opened.
    fn with_notes(&self, mut listed: Listed) -> Listed {
        if let Some(notes) = Notes::of(&self.root, &self.place(&listed.name)) {
            listed.beside.extend(listed.files.iter().filter_map(|file| notes.of_file(&file.path)));
        }
        listed
    }
}

/// A directory that is to be looked at.
struct Pending {
    path: String,
    depth: usize,
}

impl Source for DirectoryTree {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(&self, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), SourceError> {
        let mut pending = vec![Pending { path: ".".to_owned(), depth: 0 }];
        while let Some(Pending { path, depth }) = pending.pop() {
            let place = self.place(&path);
            let found = match entries(&place) {
                Ok((found, _)) => found,
                // What is below it may be models: nobody can tell.
                Err(error) if depth > 0 => {
                    if each(Listed::unread(path, error)).is_break() {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if found.iter().any(|(name, kind)| !kind.is_dir() && is_model_marker(name)) {
                let listed = match local::list(&place, &mut |_, _| {}) {
                    Ok(listed) => self.with_notes(Listed { name: path, ..listed }),
                    Err(error) => Listed::unread(path, error),
                };
                if each(listed).is_break() {
                    return Ok(());
                }
                continue;
            }
            if depth == MAX_DEPTH {
                let why = format!("directories are nested deeper than {MAX_DEPTH}");
                if each(Listed::unread(path, why)).is_break() {
                    return Ok(());
                }
                continue;
            }
            // The stack gives the last one first. Links are not followed: what they lead to lies elsewhere.
            let below =
                found.into_iter().rev().filter(|(name, kind)| kind.is_dir() && name != ".git");
            pending.extend(below.map(|(name, _)| Pending {
                path: if path == "." { name } else { format!("{path}/{name}") },
                depth: depth + 1,
            }));
        }
        Ok(())
    }

    fn open(&self, listed: &Listed) -> Result<OpenedModel, SourceError> {
        let place = self.place(&listed.name);
        let checkpoint = Checkpoint::open(&place, &local::options())?;
        let opened = OpenedModel::as_listed(checkpoint).sealed(local::seal_of(&place, listed));
        let Some(notes) = Notes::of(&self.root, &place) else { return Ok(opened) };
        let mut files = listed.files.clone();
        for file in &mut files {
            file.claims.extend(notes.claim(&file.path));
        }
        Ok(OpenedModel { files: Some(files), ..opened })
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

    /// The topmost directory with a file of a model is the model; links lead to no more of them.
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
    fn it_is_known_whether_a_model_is_signed_and_sealed() {
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
