//! The files below a directory: which are part of the model, in an order that does not depend on
//! that of the file system.

use super::error::{OpenError, is_name_too_long};
use super::file::kind_of_special;
use super::links::{Bounds, DirectoryLink, LinkTarget, TreeError, TreeRemark};
use super::location::Location;
use super::options::OpenOptions;
use super::problem::{LeftOut, Named, NotCovered, Problem};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Git's own names at the top of a model.
pub const GIT_NAMES: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// How deep directories may be nested.
pub(crate) const MAX_DEPTH: usize = 64;

/// A file that is part of the model, or is listed beside it; not opened yet.
#[derive(Debug)]
pub struct Found {
    /// Its path in the model.
    pub path: String,
    /// Where it is opened.
    pub location: Location,
    /// How its path was come to.
    pub reached: Reached,
}

/// How a path was come to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reached {
    /// The farthest that a link on the way leads.
    pub link: Option<LinkTarget>,
    /// Why it, or a directory on the way, is beside the model.
    pub beside: Option<LeftOut>,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Tree {
    /// The files that are part of the model, or listed beside it.
    pub files: Vec<Found>,
    /// Paths of the directories.
    pub directories: BTreeSet<String>,
    /// Where the links to directories lead, by path.
    pub link_targets: BTreeMap<String, PathBuf>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is legal, and worth saying.
    pub remarks: Vec<Problem>,
    /// What is left out, and why.
    pub not_covered: Vec<NotCovered>,
    /// Links to directories.
    pub links: Vec<DirectoryLink>,
}

impl Tree {
    /// Adds a file.
    pub fn file(&mut self, path: String, location: Location, reached: Reached) {
        if path.chars().any(tensorseal_base::display::is_hidden) {
            self.remarks.push(TreeRemark::UnusualName.problem(&path));
        }
        self.files.push(Found { path, location, reached });
    }

    /// A problem, of something that therefore nothing covers.
    pub fn problem(&mut self, path: &str, error: TreeError) {
        self.problems.push(error.problem(path));
        self.not_covered(path, error.to_string(), LeftOut::Problem);
    }

    /// Something that is not part of the model.
    pub fn leave_out(&mut self, path: &str, kind: LeftOut) {
        self.not_covered(path, kind.words().to_owned(), kind);
    }

    /// A path that leads into a directory which is covered under another path.
    fn link(&mut self, path: &str, target: &str) {
        let target = if target.is_empty() { "." } else { target };
        self.links.push(DirectoryLink { path: path.to_owned(), target: target.to_owned() });
    }

    fn not_covered(&mut self, path: &str, reason: String, kind: LeftOut) {
        self.not_covered.push(NotCovered { path: path.to_owned(), reason, kind });
    }

    /// Everything by its path; what is beside the model comes behind it.
    pub fn in_order(mut self) -> Tree {
        let place = |file: &Found| (file.reached.beside.is_some(), file.path.clone());
        self.files.sort_by_cached_key(place);
        self.problems.sort_by(|a, b| a.file.cmp(&b.file));
        self.remarks.sort_by(|a, b| a.file.cmp(&b.file));
        self.not_covered.sort_by(|a, b| a.path.cmp(&b.path));
        self.links.sort();
        self
    }
}

/// A directory that was found and is to be listed.
struct Pending {
    /// Path relative to the root, empty for the root itself.
    path: String,
    location: PathBuf,
    depth: usize,
    reached: Reached,
}

struct Walk<'o> {
    options: &'o OpenOptions,
    /// What is looked at, by its name; nothing else is listed.
    only: &'o dyn Fn(&str) -> bool,
    bounds: Bounds,
    /// By their identity, the paths of the directories that were listed.
    visited: HashMap<(u64, u64), String>,
    pending: Vec<Pending>,
    /// Directories beside the model: listed last, so that they change nothing of what is in it.
    pending_beside: Vec<Pending>,
    tree: Tree,
}

/// Lists a directory and everything below it.
pub fn walk(root: &Path, options: &OpenOptions) -> Result<Tree, OpenError> {
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
        visited: HashMap::new(),
        pending: Vec::new(),
        pending_beside: Vec::new(),
        tree: Tree::default(),
    };
    walk.pending.push(Pending {
        path: String::new(),
        location: root.to_owned(),
        depth: 0,
        reached: Reached::default(),
    });
    while let Some(directory) = walk.pending.pop().or_else(|| walk.pending_beside.pop()) {
        walk.list(directory)?;
    }
    Ok(walk.tree.in_order())
}

/// Why a path is not part of the model, when it is not.
pub(super) fn left_out(path: &str, options: &OpenOptions) -> Option<LeftOut> {
    let is_in = |paths: &[String]| paths.iter().any(|listed| listed == path);
    if is_in(&options.exclude) {
        return Some(LeftOut::Excluded);
    }
    if is_in(&options.seals) {
        return Some(LeftOut::Seal);
    }
    match path {
        git if GIT_NAMES.contains(&git) && !options.include_git_paths => Some(LeftOut::Git),
        ".cache/huggingface" => Some(LeftOut::Downloader),
        _ => None,
    }
}

impl Walk<'_> {
    fn list(&mut self, directory: Pending) -> Result<(), OpenError> {
        let Pending { path, location, depth, reached } = directory;
        let failed = |error| match path.is_empty() {
            true => OpenError::new(&location, error),
            false => OpenError::of_found(&location, error),
        };
        let metadata = match fs::metadata(&location) {
            Err(error) if is_name_too_long(&error) => return self.too_deep(&path),
            other => other.map_err(failed)?,
        };
        match self.visited.entry(identity(&metadata)) {
            Entry::Occupied(first) if !path.is_empty() => {
                if reached.beside.is_none() {
                    self.tree.link(&path, first.get());
                }
                self.tree.leave_out(&path, LeftOut::SeenBefore);
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
                self.tree.problem(&join(&name.to_string_lossy()), TreeError::NameNotUtf8);
                continue;
            };
            self.entry(join(name), at, kind, depth, reached)?;
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
        mut reached: Reached,
    ) -> Result<(), OpenError> {
        if let Some(reason) = left_out(&path, self.options) {
            // What lies in a directory that is left out needs no entry of its own.
            if reached.beside.is_none() {
                self.tree.leave_out(&path, reason);
            }
            if !self.options.list_beside || !reason.is_beside() {
                return Ok(());
            }
            reached.beside.get_or_insert(reason);
        }
        if kind.is_symlink() {
            self.link(path, location, depth, reached)?;
        } else if kind.is_dir() {
            self.tree.directories.insert(path.clone());
            self.directory(Pending { path, location, depth: depth + 1, reached });
        } else if kind.is_file() {
            self.tree.file(path, location.into(), reached);
        } else {
            self.tree.problem(&path, TreeError::SpecialFile { what: kind_of_special(kind) });
        }
        Ok(())
    }

    fn directory(&mut self, directory: Pending) {
        match directory.reached.beside {
            None => self.pending.push(directory),
            Some(_) => self.pending_beside.push(directory),
        }
    }

    fn link(
        &mut self,
        path: String,
        location: PathBuf,
        depth: usize,
        mut reached: Reached,
    ) -> Result<(), OpenError> {
        let (target, leads) = match self.bounds.resolve(&location) {
            Err(error) => {
                self.tree.problem(&path, error);
                return Ok(());
            }
            Ok(resolved) => resolved,
        };
        let inside = leads != LinkTarget::Outside;
        reached.link = reached.link.max(Some(leads));
        let shown = target.to_string_lossy().into_owned();
        if !inside && !self.options.allow_symlinks {
            self.tree.problem(&path, TreeError::LinkOut { target: shown });
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
                self.tree.problem(&path, TreeError::LinkCycle);
                return Ok(());
            }
            self.tree.directories.insert(path.clone());
            self.tree.link_targets.insert(path.clone(), target.clone());
            if !inside {
                self.tree.remarks.push(TreeRemark::LinkFollowed { target: shown }.problem(&path));
                let depth = depth + 1;
                self.directory(Pending { path, location: target, depth, reached });
            } else if self.is_left_out(&target) {
                self.tree.problem(&path, TreeError::LinkToLeftOut { target: shown });
            } else {
                if reached.beside.is_none() {
                    self.tree.link(&path, &self.bounds.inside(&target));
                }
                self.tree.leave_out(&path, LeftOut::DirectoryLink);
            }
        } else if metadata.is_file() {
            if !inside {
                self.tree.remarks.push(TreeRemark::LinkFollowed { target: shown }.problem(&path));
            }
            self.tree.file(path, target.into(), reached);
        } else {
            let what = kind_of_special(metadata.file_type());
            self.tree.problem(&path, TreeError::SpecialFile { what });
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
        self.tree.problem(path, TreeError::TooDeep(MAX_DEPTH));
        Ok(())
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
