//! Which files are part of a model: a walk that follows nothing out of it.

use super::{FileIdentity, NotCovered, OpenOptions, Problem};
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Directories deeper than this are not entered: no model has them, and a loop through mounts might.
const MAX_DEPTH: usize = 64;

/// Top-level names that belong to git, not to the model (as in OpenSSF Model Signing).
const GIT_NAMES: [&str; 4] = [".git", ".gitignore", ".gitattributes", ".github"];

/// A file that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where its bytes are.
    pub location: PathBuf,
    /// Its state when it was found.
    pub identity: FileIdentity,
}

/// All files under a root, and what is not one of them.
#[derive(Debug, Default)]
pub struct Walk {
    /// Regular files by relative path, `/`-separated.
    pub files: BTreeMap<String, Found>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is odd.
    pub remarks: Vec<Problem>,
    /// What is left out, and why.
    pub not_covered: Vec<NotCovered>,
    entered: HashSet<(u64, u64)>,
}

/// Walks the directory `root`.
///
/// # Errors
/// When a directory cannot be listed.
pub fn walk(root: &Path, options: &OpenOptions) -> Result<Walk, (PathBuf, io::Error)> {
    let mut walk = Walk::default();
    let canonical = root.canonicalize().map_err(|error| (root.to_owned(), error))?;
    let mut pending = vec![(root.to_owned(), String::new(), 0)];
    while let Some((directory, prefix, depth)) = pending.pop() {
        let named = |error| (directory.clone(), error);
        for entry in fs::read_dir(&directory).map_err(named)? {
            let entry = entry.map_err(named)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                let shown = format!("{prefix}{}", entry.file_name().to_string_lossy());
                let message = "its name is not UTF-8: it cannot be named in a report or a seal";
                walk.problems.push(Problem::new("format/file-name", &shown, message));
                continue;
            };
            let path = format!("{prefix}{name}");
            if let Some(reason) = left_out(&path, options) {
                walk.not_covered.push(NotCovered { path, reason });
                continue;
            }
            let Some((location, metadata)) = walk.resolve(&path, entry.path(), &canonical, options)
            else {
                continue;
            };
            if metadata.is_dir() {
                if depth == MAX_DEPTH {
                    let message = format!("directories are nested more than {MAX_DEPTH} deep");
                    walk.problems.push(Problem::new("format/too-deep", &path, message));
                } else {
                    pending.push((location, format!("{path}/"), depth + 1));
                }
            } else {
                walk.add(path, location, &metadata);
            }
        }
    }
    walk.not_covered.sort_by(|a, b| a.path.cmp(&b.path));
    walk.problems.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(walk)
}

fn left_out(path: &str, options: &OpenOptions) -> Option<String> {
    if GIT_NAMES.contains(&path) {
        return Some("belongs to git, not to the model".to_owned());
    }
    if path == ".cache/huggingface" {
        return Some("download records of the Hugging Face client".to_owned());
    }
    let excluded = options.exclude.iter().any(|excluded| excluded == path);
    excluded.then(|| "a seal is not part of what it seals".to_owned())
}

impl Walk {
    /// Adds a regular file; anything else is a problem, and is never opened.
    pub fn add(&mut self, path: String, location: PathBuf, metadata: &Metadata) {
        if metadata.is_file() {
            self.files.insert(path, Found { location, identity: FileIdentity::of(metadata) });
            return;
        }
        let message = format!("it is {}, not a regular file", kind(metadata));
        self.problems.push(Problem::new("format/special-file", &path, message));
    }

    /// Follows a link, if it may be followed. `None`: it is accounted for already.
    fn resolve(
        &mut self,
        path: &str,
        entry: PathBuf,
        root: &Path,
        options: &OpenOptions,
    ) -> Option<(PathBuf, Metadata)> {
        let link = match fs::symlink_metadata(&entry) {
            Ok(metadata) if metadata.is_symlink() => entry,
            Ok(metadata) => return Some((entry, metadata)),
            Err(error) => {
                self.problems.push(unreadable(path, &error));
                return None;
            }
        };
        let (target, metadata) = match link.canonicalize().and_then(|t| Ok((t.metadata()?, t))) {
            Ok((metadata, target)) => (target, metadata),
            Err(error) => {
                let message = format!("it is a link that leads nowhere: {error}");
                self.problems.push(Problem::new("format/link-dangling", path, message));
                return None;
            }
        };
        let inside = target.starts_with(root);
        if metadata.is_dir() && inside {
            let reason =
                "a link to a directory of the model; its files are covered under their own paths";
            self.not_covered.push(NotCovered { path: path.to_owned(), reason: reason.to_owned() });
            return None;
        }
        if inside || (metadata.is_file() && in_cache_blobs(root, &target)) {
            return Some((target, metadata));
        }
        if !options.allow_symlinks {
            let message = format!(
                "it is a link out of the model, to {}: --allow-symlinks follows it",
                target.display()
            );
            self.problems.push(Problem::new("format/link-out", path, message));
            return None;
        }
        if metadata.is_dir() && !self.entered.insert((metadata.dev(), metadata.ino())) {
            let reason = "a link to a directory that is covered under another path";
            self.not_covered.push(NotCovered { path: path.to_owned(), reason: reason.to_owned() });
            return None;
        }
        let message = format!("it is a link out of the model, to {}", target.display());
        self.remarks.push(Problem::remark("format/link-out", path, message));
        Some((target, metadata))
    }
}

/// Whether `root` is a snapshot of a Hugging Face cache (`models--…/snapshots/<commit>`) and the
/// target one of the blobs of the same repository.
fn in_cache_blobs(root: &Path, target: &Path) -> bool {
    let snapshots =
        root.ancestors().find(|a| a.file_name().is_some_and(|name| name == "snapshots"));
    let Some(repository) = snapshots.and_then(Path::parent) else { return false };
    let named = repository.file_name().and_then(|name| name.to_str());
    named.is_some_and(|name| name.starts_with("models--"))
        && target.starts_with(repository.join("blobs"))
}

fn kind(metadata: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "something else"
    }
}

fn unreadable(path: &str, error: &io::Error) -> Problem {
    Problem::new("format/special-file", path, format!("it cannot be examined: {error}"))
}
