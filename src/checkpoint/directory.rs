//! The files below a directory: which are part of the model, in an order that does not depend on
//! that of the file system.

use super::OpenOptions;
use super::file::{OpenError, is_name_too_long, kind_of_special};
use super::links::{Bounds, Target, TreeError, TreeRemark};
use super::problem::{Named, NotCovered, Problem};
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// How deep directories may be nested.
pub(crate) const MAX_DEPTH: usize = 64;

/// A file that is part of the model; not opened yet.
#[derive(Debug)]
pub(crate) struct Found {
    pub path: String,
    pub location: PathBuf,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub files: Vec<Found>,
    /// Paths of the directories.
    pub directories: BTreeSet<String>,
    pub problems: Vec<Problem>,
    pub remarks: Vec<Problem>,
    pub not_covered: Vec<NotCovered>,
}

/// A directory that was found and is to be listed.
struct Pending {
    /// Path relative to the root, empty for the root itself.
    path: String,
    location: PathBuf,
    depth: usize,
}

struct Walk<'o> {
    options: &'o OpenOptions,
    /// What is looked at, by its name; nothing else is listed.
    only: &'o dyn Fn(&str) -> bool,
    bounds: Bounds,
    visited: HashSet<(u64, u64)>,
    pending: Vec<Pending>,
    tree: Tree,
}

/// Lists a directory and everything below it.
pub(crate) fn walk(root: &Path, options: &OpenOptions) -> Result<Tree, OpenError> {
    walk_only(root, options, &|_| true)
}

/// [`walk`], as if there were only the entries of these names.
pub(crate) fn walk_only(
    root: &Path,
    options: &OpenOptions,
    only: &dyn Fn(&str) -> bool,
) -> Result<Tree, OpenError> {
    let resolved = fs::canonicalize(root).map_err(|error| OpenError::new(root, error))?;
    let mut walk = Walk {
        options,
        only,
        bounds: Bounds::new(resolved),
        visited: HashSet::new(),
        pending: Vec::new(),
        tree: Tree::default(),
    };
    walk.pending.push(Pending { path: String::new(), location: root.to_owned(), depth: 0 });
    while let Some(directory) = walk.pending.pop() {
        walk.list(directory)?;
    }
    let mut tree = walk.tree;
    tree.files.sort_by(|a, b| a.path.cmp(&b.path));
    tree.problems.sort_by(|a, b| a.file.cmp(&b.file));
    tree.remarks.sort_by(|a, b| a.file.cmp(&b.file));
    tree.not_covered.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(tree)
}

/// Why a path is not part of the model, when it is not.
fn left_out(path: &str, options: &OpenOptions) -> Option<&'static str> {
    if options.exclude.iter().any(|excluded| excluded == path) {
        return Some("excluded: a seal or signature is not part of what it covers");
    }
    match path {
        ".git" | ".gitignore" | ".gitattributes" | ".github" if !options.include_git_paths => {
            Some("git's own, not part of the model")
        }
        ".cache/huggingface" => Some("notes of the downloader, not part of the model"),
        _ => None,
    }
}

impl Walk<'_> {
    fn list(&mut self, directory: Pending) -> Result<(), OpenError> {
        let Pending { path, location, depth } = directory;
        let failed = |error| match path.is_empty() {
            true => OpenError::new(&location, error),
            false => OpenError::of_found(&location, error),
        };
        let metadata = match fs::metadata(&location) {
            Err(error) if is_name_too_long(&error) => return self.too_deep(&path),
            other => other.map_err(failed)?,
        };
        if !self.visited.insert(identity(&metadata)) && !path.is_empty() {
            self.leave_out(&path, "the same directory is covered under another path");
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return self.too_deep(&path);
        }
        let mut entries: Vec<(OsString, fs::FileType)> = Vec::new();
        for entry in fs::read_dir(&location).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !(self.only)(&entry.file_name().to_string_lossy()) {
                continue;
            }
            let kind = entry.file_type().map_err(failed)?;
            entries.push((entry.file_name(), kind));
        }
        entries.sort_by(|a, b| a.0.as_encoded_bytes().cmp(b.0.as_encoded_bytes()));

        let first = self.pending.len();
        for (name, kind) in entries {
            let at = location.join(&name);
            let join = |name: &str| match path.is_empty() {
                true => name.to_owned(),
                false => format!("{path}/{name}"),
            };
            let Some(name) = name.to_str() else {
                self.problem(&join(&name.to_string_lossy()), TreeError::NameNotUtf8);
                continue;
            };
            self.entry(join(name), at, kind, depth)?;
        }
        // The stack gives the last one first.
        self.pending[first..].reverse();
        Ok(())
    }

    fn entry(
        &mut self,
        path: String,
        location: PathBuf,
        kind: fs::FileType,
        depth: usize,
    ) -> Result<(), OpenError> {
        if let Some(reason) = left_out(&path, self.options) {
            self.leave_out(&path, reason);
        } else if kind.is_symlink() {
            self.link(path, location, depth)?;
        } else if kind.is_dir() {
            self.tree.directories.insert(path.clone());
            self.pending.push(Pending { path, location, depth: depth + 1 });
        } else if kind.is_file() {
            self.file(path, location);
        } else {
            self.problem(&path, TreeError::SpecialFile { what: kind_of_special(kind) });
        }
        Ok(())
    }

    fn file(&mut self, path: String, location: PathBuf) {
        if path.chars().any(super::display::is_hidden) {
            self.tree.remarks.push(TreeRemark::UnusualName.problem(&path));
        }
        self.tree.files.push(Found { path, location });
    }

    fn link(&mut self, path: String, location: PathBuf, depth: usize) -> Result<(), OpenError> {
        let (target, inside) = match self.bounds.resolve(&location) {
            Err(error) => {
                self.problem(&path, error);
                return Ok(());
            }
            Ok(Target::Inside(target)) => (target, true),
            Ok(Target::Outside(target)) => (target, false),
        };
        let shown = target.to_string_lossy().into_owned();
        if !inside && !self.options.allow_symlinks {
            self.problem(&path, TreeError::LinkOut { target: shown });
            return Ok(());
        }
        let metadata =
            fs::metadata(&target).map_err(|error| OpenError::of_found(&target, error))?;
        if metadata.is_dir() {
            if location
                .parent()
                .and_then(|dir| fs::canonicalize(dir).ok())
                .is_some_and(|dir| dir.starts_with(&target))
            {
                self.problem(&path, TreeError::LinkCycle);
                return Ok(());
            }
            self.tree.directories.insert(path.clone());
            if !inside {
                self.tree.remarks.push(TreeRemark::LinkFollowed { target: shown }.problem(&path));
                self.pending.push(Pending { path, location: target, depth: depth + 1 });
            } else if self.is_left_out(&target) {
                self.problem(&path, TreeError::LinkToLeftOut { target: shown });
            } else {
                self.leave_out(
                    &path,
                    "link to a directory inside the model; its files are covered under their own \
                     paths",
                );
            }
        } else if metadata.is_file() {
            if !inside {
                self.tree.remarks.push(TreeRemark::LinkFollowed { target: shown }.problem(&path));
            }
            self.file(path, target);
        } else {
            let what = kind_of_special(metadata.file_type());
            self.problem(&path, TreeError::SpecialFile { what });
        }
        Ok(())
    }

    /// Whether a directory in the root is, or is below, something that is left out.
    fn is_left_out(&self, target: &Path) -> bool {
        let Ok(relative) = target.strip_prefix(&self.bounds.root) else { return true };
        relative.ancestors().any(|part| {
            part.to_str().is_none_or(|part| {
                let part = part.replace(std::path::MAIN_SEPARATOR, "/");
                left_out(&part, self.options).is_some()
            })
        })
    }

    fn too_deep(&mut self, path: &str) -> Result<(), OpenError> {
        self.problem(path, TreeError::TooDeep(MAX_DEPTH));
        Ok(())
    }

    /// A problem, of something that therefore nothing covers.
    fn problem(&mut self, path: &str, error: TreeError) {
        let problem = error.problem(path);
        self.leave_out(path, &error.to_string());
        self.tree.problems.push(problem);
    }

    fn leave_out(&mut self, path: &str, reason: &str) {
        self.tree.not_covered.push(NotCovered { path: path.to_owned(), reason: reason.to_owned() });
    }
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// Without inode numbers the bound on depth alone ends a cycle.
#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> (u64, u64) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    (0, NEXT.fetch_add(1, Ordering::Relaxed))
}
