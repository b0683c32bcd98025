//! Walks a directory and lists the files of a model, in an order that does not depend on the file system.

use super::error::{OpenError, is_name_too_long};
use super::file::kind_of_special;
use super::links::{DirectoryLink, LinkBounds, LinkTarget, TreeError, TreeRemark};
use super::location::Location;
use super::options::OpenOptions;
use super::problem::{Problem, SkipReason, SkippedPath, StructureError};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The names of git metadata at the top of a model.
pub const GIT_NAMES: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// The deepest nesting of directories.
pub(crate) const MAX_DEPTH: usize = 64;

/// A file of the model, or a signed-only file, that has been listed but not opened.
#[derive(Debug)]
pub struct DiscoveredFile {
    /// The path in the model.
    pub path: String,
    /// The location of the file.
    pub location: Location,
    /// How the path was reached.
    pub origin: PathOrigin,
}

/// How a path was reached.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathOrigin {
    /// The farthest target of the links on the way.
    pub link: Option<LinkTarget>,
    /// The reason why the path, or a directory on the way, is signed-only.
    pub signed_only: Option<SkipReason>,
}

/// The entries below a directory.
#[derive(Debug, Default)]
pub struct Tree {
    /// The files of the model and the signed-only files.
    pub files: Vec<DiscoveredFile>,
    /// The paths of the directories.
    pub directories: BTreeSet<String>,
    /// The targets of links to directories, by path.
    pub link_targets: BTreeMap<String, PathBuf>,
    /// The problems of the tree.
    pub problems: Vec<Problem>,
    /// Remarks about the tree: legal, but worth knowing.
    pub remarks: Vec<Problem>,
    /// The skipped paths with the reasons.
    pub skipped: Vec<SkippedPath>,
    /// The links to directories that are listed under another path.
    pub links: Vec<DirectoryLink>,
}

impl Tree {
    /// Adds a file.
    pub fn add_file(&mut self, path: String, location: Location, origin: PathOrigin) {
        if path.chars().any(tensorseal_base::display::is_hidden) {
            self.remarks.push(TreeRemark::UnusualName.to_problem(&path));
        }
        self.files.push(DiscoveredFile { path, location, origin });
    }

    /// Adds a path with a problem, which is therefore skipped.
    pub fn add_problem(&mut self, path: &str, error: TreeError) {
        self.problems.push(error.to_problem(path));
        self.add_skipped(path, error.to_string(), SkipReason::Problem);
    }

    /// Adds a path that is not part of the model.
    pub fn skip(&mut self, path: &str, kind: SkipReason) {
        self.add_skipped(path, kind.description().to_owned(), kind);
    }

    /// Adds a link to a directory that is listed under another path.
    fn add_link(&mut self, path: &str, target: &str) {
        let target = if target.is_empty() { "." } else { target };
        self.links.push(DirectoryLink { path: path.to_owned(), target: target.to_owned() });
    }

    fn add_skipped(&mut self, path: &str, reason: String, kind: SkipReason) {
        self.skipped.push(SkippedPath { path: path.to_owned(), reason, kind });
    }

    /// Sorts everything by path, with signed-only files after the files of the model.
    pub fn sorted(mut self) -> Tree {
        let key = |file: &DiscoveredFile| (file.origin.signed_only.is_some(), file.path.clone());
        self.files.sort_by_cached_key(key);
        self.problems.sort_by(|a, b| a.file.cmp(&b.file));
        self.remarks.sort_by(|a, b| a.file.cmp(&b.file));
        self.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        self.links.sort();
        self
    }
}

/// A directory that is to be listed.
struct PendingDirectory {
    /// The path relative to the root, empty for the root itself.
    path: String,
    location: PathBuf,
    depth: usize,
    origin: PathOrigin,
}

struct DirectoryWalk<'o> {
    options: &'o OpenOptions,
    /// Whether an entry with this name is listed.
    only: &'o dyn Fn(&str) -> bool,
    bounds: LinkBounds,
    /// The paths of the directories that were listed, by their identity.
    visited: HashMap<(u64, u64), String>,
    pending: Vec<PendingDirectory>,
    /// The signed-only directories. They are listed last, so that they do not change what the model contains.
    pending_signed_only: Vec<PendingDirectory>,
    tree: Tree,
}

/// Lists a directory and everything below it.
///
/// # Errors
/// Returns an [`OpenError`] if a directory cannot be listed.
pub fn walk(root: &Path, options: &OpenOptions) -> Result<Tree, OpenError> {
    walk_only(root, options, &|_| true)
}

/// Like [`walk`], but only for entries whose names `only` accepts.
pub(crate) fn walk_only(
    root: &Path,
    options: &OpenOptions,
    only: &dyn Fn(&str) -> bool,
) -> Result<Tree, OpenError> {
    let resolved = fs::canonicalize(root).map_err(|error| OpenError::new(root, error))?;
    let mut walk = DirectoryWalk {
        options,
        only,
        bounds: LinkBounds::new(resolved),
        visited: HashMap::new(),
        pending: Vec::new(),
        pending_signed_only: Vec::new(),
        tree: Tree::default(),
    };
    walk.pending.push(PendingDirectory {
        path: String::new(),
        location: root.to_owned(),
        depth: 0,
        origin: PathOrigin::default(),
    });
    while let Some(directory) = walk.pending.pop().or_else(|| walk.pending_signed_only.pop()) {
        walk.list(directory)?;
    }
    Ok(walk.tree.sorted())
}

/// The reason why a path is not part of the model, if there is one.
pub(super) fn skip_reason(path: &str, options: &OpenOptions) -> Option<SkipReason> {
    let is_in = |paths: &[String]| paths.iter().any(|listed| listed == path);
    if is_in(&options.exclude) {
        return Some(SkipReason::Excluded);
    }
    if is_in(&options.seals) {
        return Some(SkipReason::Seal);
    }
    if is_in(&options.signatures) {
        return Some(SkipReason::Signature);
    }
    match path {
        git if GIT_NAMES.contains(&git) && !options.include_git_paths => Some(SkipReason::Git),
        ".cache/huggingface" => Some(SkipReason::Downloader),
        _ => None,
    }
}

impl DirectoryWalk<'_> {
    fn list(&mut self, directory: PendingDirectory) -> Result<(), OpenError> {
        let PendingDirectory { path, location, depth, origin } = directory;
        let failed = |error| match path.is_empty() {
            true => OpenError::new(&location, error),
            false => OpenError::for_found_path(&location, error),
        };
        let metadata = match fs::metadata(&location) {
            Err(error) if is_name_too_long(&error) => return self.too_deep(&path),
            other => other.map_err(failed)?,
        };
        match self.visited.entry(identity(&metadata)) {
            Entry::Occupied(first) if !path.is_empty() => {
                if origin.signed_only.is_none() {
                    self.tree.add_link(&path, first.get());
                }
                self.tree.skip(&path, SkipReason::AlreadyListed);
                return Ok(());
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(new) => _ = new.insert(path.clone()),
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
                self.tree.add_problem(&join(&name.to_string_lossy()), TreeError::NameNotUtf8);
                continue;
            };
            self.entry(join(name), at, kind, depth, origin)?;
        }
        // The last entry of the stack is listed first.
        self.pending[first..].reverse();
        Ok(())
    }

    fn entry(
        &mut self,
        path: String,
        location: PathBuf,
        kind: fs::FileType,
        depth: usize,
        mut origin: PathOrigin,
    ) -> Result<(), OpenError> {
        if let Some(reason) = skip_reason(&path, self.options) {
            // The contents of a skipped directory need no entries.
            if origin.signed_only.is_none() {
                self.tree.skip(&path, reason);
            }
            if !self.options.list_signed_only || !reason.is_signed_only() {
                return Ok(());
            }
            origin.signed_only.get_or_insert(reason);
        }
        if kind.is_symlink() {
            self.link(path, location, depth, origin)?;
        } else if kind.is_dir() {
            self.tree.directories.insert(path.clone());
            self.directory(PendingDirectory { path, location, depth: depth + 1, origin });
        } else if kind.is_file() {
            self.tree.add_file(path, location.into(), origin);
        } else {
            self.tree.add_problem(&path, TreeError::SpecialFile { what: kind_of_special(kind) });
        }
        Ok(())
    }

    fn directory(&mut self, directory: PendingDirectory) {
        match directory.origin.signed_only {
            None => self.pending.push(directory),
            Some(_) => self.pending_signed_only.push(directory),
        }
    }

    fn link(
        &mut self,
        path: String,
        location: PathBuf,
        depth: usize,
        mut origin: PathOrigin,
    ) -> Result<(), OpenError> {
        let (target, kind) = match self.bounds.resolve(&location) {
            Err(error) => {
                self.tree.add_problem(&path, error);
                return Ok(());
            }
            Ok(resolved) => resolved,
        };
        let inside = kind != LinkTarget::Outside;
        origin.link = origin.link.max(Some(kind));
        let lossy = target.to_string_lossy().into_owned();
        if !inside && !self.options.allow_symlinks {
            self.tree.add_problem(&path, TreeError::LinkOut { target: lossy });
            return Ok(());
        }
        let metadata =
            fs::metadata(&target).map_err(|error| OpenError::for_found_path(&target, error))?;
        if metadata.is_dir() {
            if location
                .parent()
                .and_then(|dir| fs::canonicalize(dir).ok())
                .is_some_and(|dir| dir.starts_with(&target))
            {
                self.tree.add_problem(&path, TreeError::LinkCycle);
                return Ok(());
            }
            self.tree.directories.insert(path.clone());
            self.tree.link_targets.insert(path.clone(), target.clone());
            if !inside {
                self.tree
                    .remarks
                    .push(TreeRemark::LinkFollowed { target: lossy }.to_problem(&path));
                let depth = depth + 1;
                self.directory(PendingDirectory { path, location: target, depth, origin });
            } else if self.is_skipped(&target) {
                self.tree.add_problem(&path, TreeError::LinkToSkipped { target: lossy });
            } else {
                if origin.signed_only.is_none() {
                    self.tree.add_link(&path, &self.bounds.relative_path(&target));
                }
                self.tree.skip(&path, SkipReason::DirectoryLink);
            }
        } else if metadata.is_file() {
            if !inside {
                self.tree
                    .remarks
                    .push(TreeRemark::LinkFollowed { target: lossy }.to_problem(&path));
            }
            self.tree.add_file(path, target.into(), origin);
        } else {
            let what = kind_of_special(metadata.file_type());
            self.tree.add_problem(&path, TreeError::SpecialFile { what });
        }
        Ok(())
    }

    /// Whether a directory in the root, or one of its parents, is skipped.
    fn is_skipped(&self, target: &Path) -> bool {
        let Ok(relative) = target.strip_prefix(&self.bounds.root) else { return true };
        relative.ancestors().any(|part| {
            part.to_str().is_none_or(|part| {
                let part = part.replace(std::path::MAIN_SEPARATOR, "/");
                skip_reason(&part, self.options).is_some()
            })
        })
    }

    fn too_deep(&mut self, path: &str) -> Result<(), OpenError> {
        self.tree.add_problem(path, TreeError::TooDeep(MAX_DEPTH));
        Ok(())
    }
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// Without inode numbers only the limit of the depth ends a cycle.
#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> (u64, u64) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    (0, NEXT.fetch_add(1, Ordering::Relaxed))
}
