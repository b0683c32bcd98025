//! Whether a model is at the end of a run what it was at the start: the same files under the same paths, none of
//! them written to, and nothing beside them that was not there.
//!
//! Each file is compared with itself when its last byte was read (`stream/files.rs`). What was read early may change
//! until the last file is read, and what was added is in no list at all: so everything is looked at again.

use super::directory::{self, Found, Tree};
use super::file::OpenError;
use super::gguf::split::PartName;
use super::{Checkpoint, FileIdentity, FileKind, LeftOut, Location, ModelFile, OpenOptions};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How a model was opened, and what was there besides its files.
#[derive(Debug)]
pub(super) struct Start {
    how: How,
    others: BTreeMap<String, Other>,
}

#[derive(Debug)]
enum How {
    /// As all that a directory holds.
    Directory(OpenOptions),
    /// As the parts of one model in a directory; this is the name of one of them.
    Parts(OpenOptions, String),
    /// As these files and no others.
    Files,
    /// On another machine, which pins each read to what was listed.
    Elsewhere,
}

/// Something that is no file of the model.
#[derive(Debug, PartialEq, Eq)]
enum Other {
    Directory,
    /// A link to a directory: where it leads.
    Link(PathBuf),
    /// A directory that is listed under another path.
    Again,
    /// What is wrong with it.
    Problem(String),
    /// A file that was found and could not be opened under this name.
    Unopened,
}

impl Other {
    fn added(&self) -> &'static str {
        match self {
            Other::Directory | Other::Again => "a directory was added",
            Other::Link(_) => "a link was added",
            Other::Problem(_) | Other::Unopened => "it was added",
        }
    }
}

impl Start {
    /// Of a directory, with all that the first walk found in it.
    pub fn of_directory(options: &OpenOptions, tree: &Tree) -> Start {
        Start { how: How::Directory(for_walking(options)), others: others(tree) }
    }

    /// Of the parts of one model, of which one has this name.
    pub fn of_parts(options: &OpenOptions, part: &str, tree: &Tree) -> Start {
        Start { how: How::Parts(for_walking(options), part.to_owned()), others: others(tree) }
    }

    /// Of files that stand for themselves.
    pub fn of_files() -> Start {
        Start { how: How::Files, others: BTreeMap::new() }
    }

    /// Of files of another machine.
    pub fn elsewhere() -> Start {
        Start { how: How::Elsewhere, others: BTreeMap::new() }
    }

    /// Notes a file that was found and is none of the model's.
    pub fn unopened(&mut self, path: &str) {
        self.others.insert(path.to_owned(), Other::Unopened);
    }
}

/// What the walk needs: which files a seal expects changes nothing of what is there.
fn for_walking(options: &OpenOptions) -> OpenOptions {
    OpenOptions { expected_files: None, ..options.clone() }
}

fn others(tree: &Tree) -> BTreeMap<String, Other> {
    let mut others: BTreeMap<String, Other> =
        tree.directories.iter().map(|path| (path.clone(), Other::Directory)).collect();
    let again = tree.not_covered.iter().filter(|left| left.kind == LeftOut::SeenBefore);
    others.extend(again.map(|left| (left.path.clone(), Other::Again)));
    let links = tree.link_targets.iter();
    others.extend(links.map(|(path, target)| (path.clone(), Other::Link(target.clone()))));
    let problems = tree.problems.iter();
    others.extend(problems.map(|it| (it.file.clone(), Other::Problem(it.message.clone()))));
    others
}

/// Whether a file is part of what a verdict speaks of. The downloader writes its notes when it likes.
fn is_compared(beside: Option<LeftOut>) -> bool {
    beside.is_none_or(|kind| kind == LeftOut::Seal)
}

impl Checkpoint {
    /// Looks at the model again, after the last byte of it was read: whether the same files, directories and
    /// links are there, and no file was written to since it was opened. What a run itself has written into
    /// the model, by paths in it, is passed over (`own`), and so is everything that was not part of the
    /// model to begin with.
    ///
    /// Of a model on another machine each read was of what was listed: its source tells the rest.
    ///
    /// # Errors
    /// [`OpenError::Unsettled`], with the first that differs; others, where it cannot be looked at any more.
    pub fn still_there(&self, own: &[String]) -> Result<(), OpenError> {
        let without = |options: &OpenOptions| {
            let mut options = options.clone();
            options.exclude.extend_from_slice(own);
            options
        };
        let tree = match &self.start.how {
            How::Elsewhere => return Ok(()),
            How::Files => return self.files.iter().try_for_each(|file| self.compare_alone(file)),
            How::Directory(options) => directory::walk(&self.root, &without(options))?,
            How::Parts(options, part) => {
                let is_part =
                    |name: &str| PartName::of(part).is_some_and(|part| part.is_beside(name));
                directory::walk_only(&self.root, &without(options), &is_part)?
            }
        };
        self.compare_files(&tree.files)?;
        self.compare_others(&others(&tree))
    }

    /// Takes these files alone for the model, whatever else lies beside them: they are bytes, and nothing is
    /// wrong with what they are called or hold.
    pub(crate) fn keep_files(&mut self, paths: &BTreeSet<&str>) {
        self.files.retain(|file| paths.contains(file.path.as_str()));
        for file in &mut self.files {
            (file.kind, file.format) = (FileKind::Other, None);
            file.checksums.clear();
            file.big_endian.clear();
        }
        self.tensors.clear();
        self.gguf.clear();
        self.format = None;
        self.problems.clear();
        self.start = Start::of_files();
    }

    /// Both are in the order of [`Checkpoint::files`].
    fn compare_files(&self, now: &[Found]) -> Result<(), OpenError> {
        let mut before = self.files.iter().filter(|file| is_compared(file.beside)).peekable();
        let mut now = now.iter().filter(|file| is_compared(file.reached.beside)).peekable();
        loop {
            let order = match (before.peek(), now.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(file), Some(found)) => {
                    let was = (file.beside.is_some(), &file.path);
                    was.cmp(&(found.reached.beside.is_some(), &found.path))
                }
            };
            let file = if order.is_le() { before.next() } else { None };
            let found = if order.is_ge() { now.next() } else { None };
            match (file, found) {
                (Some(file), Some(found)) => self.compare(file, &found.location)?,
                (Some(file), None) => return Err(self.unsettled(&file.path, "it is gone")),
                (None, Some(found)) if !self.was_unopened(&found.path) => {
                    return Err(self.unsettled(&found.path, "it was added"));
                }
                (None, _) => {}
            }
        }
    }

    fn was_unopened(&self, path: &str) -> bool {
        self.start.others.get(path) == Some(&Other::Unopened)
    }

    fn compare_others(&self, now: &BTreeMap<String, Other>) -> Result<(), OpenError> {
        let before = &self.start.others;
        for (path, was) in before.iter().filter(|(_, was)| **was != Other::Unopened) {
            match now.get(path) {
                Some(is) if is == was => {}
                Some(Other::Link(_)) => {
                    return Err(self.unsettled(path, "it leads elsewhere now"));
                }
                Some(_) => return Err(self.unsettled(path, "it is something else now")),
                None => return Err(self.unsettled(path, "it is gone")),
            }
        }
        match now.iter().find(|(path, _)| !before.contains_key(*path)) {
            Some((path, other)) => Err(self.unsettled(path, other.added())),
            None => Ok(()),
        }
    }

    /// A file that was given by itself: where its name leads, and what is there.
    fn compare_alone(&self, file: &ModelFile) -> Result<(), OpenError> {
        if self.is_one_file() {
            let location = fs::canonicalize(&self.path)
                .map_err(|error| OpenError::of_found(&self.path, error))?;
            return self.compare(file, &Location::Path(location));
        }
        self.compare(file, &file.location)
    }

    fn compare(&self, file: &ModelFile, now: &Location) -> Result<(), OpenError> {
        let (Location::Path(was), Location::Path(now)) = (&file.location, now) else {
            return Ok(());
        };
        if was != now {
            return Err(self.unsettled(&file.path, "it leads elsewhere now"));
        }
        let metadata = fs::metadata(now).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => self.unsettled(&file.path, "it is gone"),
            _ => OpenError::of_found(now, error),
        })?;
        match file.identity.difference(&FileIdentity::of(&metadata)) {
            Some(what) => Err(self.unsettled(&file.path, what)),
            None => Ok(()),
        }
    }

    fn unsettled(&self, path: &str, what: &'static str) -> OpenError {
        let root = if self.root == Path::new(".") { Path::new("") } else { &self.root };
        OpenError::Unsettled { path: root.join(path), what }
    }
}
