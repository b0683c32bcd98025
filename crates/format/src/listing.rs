//! Turns a list of remote files into the same tree that a directory with these files gives.
//!
//! The list comes from another machine and is untrusted. Paths are only names here: no file on this machine is
//! accessed.

use super::directory::{MAX_DEPTH, PathOrigin, Tree, skip_reason};
pub use super::error::MAX_FILES;
use super::links::TreeError;
use super::location::Location;
use super::options::OpenOptions;
use std::collections::BTreeSet;

/// The longest path in bytes (`PATH_MAX` of Linux).
const MAX_PATH: usize = 4096;

/// The longest component of a path in bytes (`NAME_MAX` of Linux).
const MAX_NAME: usize = 255;

/// The tree of a directory with these files.
pub(crate) fn tree(files: impl Iterator<Item = (String, Location)>, options: &OpenOptions) -> Tree {
    let mut builder = ListedTreeBuilder {
        options,
        tree: Tree::default(),
        seen: BTreeSet::new(),
        reported: BTreeSet::new(),
    };
    for (path, location) in files {
        builder.add(path, location);
    }
    builder.tree.sorted()
}

/// Whether a listed path belongs to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathMembership {
    /// A file of the model.
    ModelFile,
    /// Not part of the model, or in a directory that is not.
    Skipped,
    /// Not a valid path of a file in a model.
    Refused,
}

/// Whether a path that is listed once belongs to the model.
pub fn path_membership(path: &str, options: &OpenOptions) -> PathMembership {
    let directories = path.match_indices('/').map(|(end, _)| end);
    if refusal(path).is_some() {
        PathMembership::Refused
    } else if directories
        .chain([path.len()])
        .any(|end| skip_reason(&path[..end], options).is_some())
    {
        PathMembership::Skipped
    } else {
        PathMembership::ModelFile
    }
}

struct ListedTreeBuilder<'o> {
    options: &'o OpenOptions,
    tree: Tree,
    /// The paths of the files.
    seen: BTreeSet<String>,
    /// The paths of files and directories that have a problem or are skipped.
    reported: BTreeSet<String>,
}

impl ListedTreeBuilder<'_> {
    fn add(&mut self, path: String, location: Location) {
        if let Some((part, error)) = refusal(&path) {
            return self.problem(part, error);
        }
        if self.seen.contains(&path) {
            return self.problem(&path, TreeError::ListedTwice);
        }
        let Some(origin) = self.origin(&path) else { return };
        self.seen.insert(path.clone());
        self.tree.add_file(path, location, origin);
    }

    /// Goes through the directories of a file. Returns `None` if the file or one of its directories is skipped.
    fn origin(&mut self, path: &str) -> Option<PathOrigin> {
        let mut origin = PathOrigin::default();
        let directories = path.match_indices('/').map(|(end, _)| end);
        for end in directories.chain([path.len()]) {
            let part = &path[..end];
            if let Some(reason) = skip_reason(part, self.options) {
                if origin.signed_only.is_none() && self.reported.insert(part.to_owned()) {
                    self.tree.skip(part, reason);
                }
                if !self.options.list_signed_only || !reason.is_signed_only() {
                    return None;
                }
                origin.signed_only.get_or_insert(reason);
            }
            if end < path.len() && !self.tree.directories.contains(part) {
                self.tree.directories.insert(part.to_owned());
            }
        }
        Some(origin)
    }

    fn problem(&mut self, path: &str, error: TreeError) {
        if self.reported.insert(path.to_owned()) {
            self.tree.add_problem(path, error);
        }
    }
}

/// The reason why a path is refused, if there is one, with the part of the path that is at fault.
fn refusal(path: &str) -> Option<(&str, TreeError)> {
    let too_deep = TreeError::TooDeep(MAX_DEPTH);
    let deep = path.match_indices('/').map(|(end, _)| end).nth(MAX_DEPTH);
    if !is_safe(path) {
        Some((path, TreeError::UnsafePath))
    } else if path.len() > MAX_PATH || path.split('/').any(|name| name.len() > MAX_NAME) {
        Some((path, too_deep))
    } else {
        deep.map(|end| (&path[..end], too_deep))
    }
}

/// Whether a path names a file below the root on every system.
fn is_safe(path: &str) -> bool {
    let is_name = |name: &str| !matches!(name, "" | "." | "..");
    !path.contains(['\0', '\\']) && path.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory;
    use proptest::prelude::*;
    use std::fs;
    use std::path::PathBuf;

    fn listed(paths: &[&str], options: &OpenOptions) -> Tree {
        tree(paths.iter().map(|path| ((*path).to_owned(), PathBuf::new().into())), options)
    }

    #[test]
    fn a_path_that_no_directory_holds_is_a_problem() {
        let long = "x".repeat(MAX_NAME + 1);
        for path in ["../x", "/x", "a//x", "a/./x", "x/..", "", "a/", "a\\x", "a\0x", &long] {
            let tree = listed(&[path, "model.gguf", path], &OpenOptions::default());
            let paths: Vec<_> = tree.files.iter().map(|file| &*file.path).collect();
            assert_eq!(paths, ["model.gguf"], "{path:?}");
            assert_eq!((tree.problems.len(), tree.skipped.len()), (1, 1), "{path:?}");
        }
    }

    #[test]
    fn a_file_is_listed_once() {
        let tree = listed(&["a/x", "a/x"], &OpenOptions::default());
        assert_eq!(tree.files.len(), 1);
        assert_eq!(tree.problems[0].rule, "format/listed-twice");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// What is left out of a directory is left out of a list, and nothing else.
        #[test]
        fn a_list_is_what_the_directory_is(
            picked in proptest::sample::subsequence(PATHS.to_vec(), 0..=PATHS.len()),
            signed_only: bool,
            git: bool,
        ) {
            let root = tempfile::tempdir().unwrap();
            for path in &picked {
                let place = root.path().join(path);
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::write(place, path).unwrap();
            }
            let options = OpenOptions {
                include_git_paths: git,
                list_signed_only: signed_only,
                seals: vec!["tensorseal.seal.json".into()],
                exclude: vec!["model.sig".into(), ".cache/huggingface/b".into()],
                ..OpenOptions::default()
            };
            let there = directory::walk(root.path(), &options).unwrap();
            let here = listed(&picked, &options);
            let files = |tree: &Tree| -> Vec<_> {
                tree.files.iter().map(|f| (f.path.clone(), f.origin.signed_only)).collect()
            };
            prop_assert_eq!(files(&here), files(&there));
            let own = picked.iter().filter(|path| path_membership(path, &options) == PathMembership::ModelFile);
            let expected = there.files.iter().filter(|file| file.origin.signed_only.is_none());
            prop_assert_eq!(own.count(), expected.count());
            prop_assert_eq!(&here.skipped, &there.skipped);
            prop_assert_eq!(&here.problems, &there.problems);
            prop_assert_eq!(&here.remarks, &there.remarks);
            prop_assert_eq!(&here.directories, &there.directories);
        }
    }

    const PATHS: [&str; 14] = [
        ".cache/huggingface/a",
        ".cache/huggingface/b",
        ".cache/huggingface/c/d",
        ".cache/other",
        ".git/config",
        ".gitattributes",
        "a/.git/config",
        "a/b/c.safetensors",
        "a/tensorseal.seal.json",
        "config.json",
        "model.sig",
        "odd\u{7}name",
        "tensorseal.seal.json",
        "unet/x.bin",
    ];
}
