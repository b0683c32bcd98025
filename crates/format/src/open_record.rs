//! Records the state of a model when it is opened, for the comparison at the end of a run.

use super::directory::Tree;
use super::options::OpenOptions;
use super::problem::SkipReason;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How a model was opened, and the other entries of its directory.
#[derive(Debug)]
pub(super) struct OpenRecord {
    pub mode: OpenMode,
    pub others: BTreeMap<String, OtherEntry>,
}

/// How the files of a model were listed.
#[derive(Debug)]
pub(super) enum OpenMode {
    /// All files in a directory.
    Directory(OpenOptions),
    /// The parts of one model in a directory, with the name of one part.
    Parts(OpenOptions, String),
    /// A fixed list of files.
    Files,
    /// Files on another machine, where each read is pinned to the listed version.
    Remote,
}

/// An entry that is not a file of the model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OtherEntry {
    Directory,
    /// A link to a directory, with its target.
    Link(PathBuf),
    /// A directory that is listed under another path.
    AlreadyListed,
    /// An entry with a problem, with the message.
    Problem(String),
    /// A file that could not be opened because its path is too long.
    Unopened,
}

impl OtherEntry {
    /// Describes the change that this entry was added.
    pub(crate) fn addition(&self) -> &'static str {
        match self {
            OtherEntry::Directory | OtherEntry::AlreadyListed => "a directory was added",
            OtherEntry::Link(_) => "a link was added",
            OtherEntry::Problem(_) | OtherEntry::Unopened => "it was added",
        }
    }
}

impl OpenRecord {
    /// Records a directory with everything that the walk found in it.
    pub(crate) fn for_directory(options: &OpenOptions, tree: &Tree) -> OpenRecord {
        OpenRecord { mode: OpenMode::Directory(for_walking(options)), others: others(tree) }
    }

    /// Records the parts of one model, of which one has the name `part`.
    pub(crate) fn for_parts(options: &OpenOptions, part: &str, tree: &Tree) -> OpenRecord {
        OpenRecord {
            mode: OpenMode::Parts(for_walking(options), part.to_owned()),
            others: others(tree),
        }
    }

    /// Records a fixed list of files.
    pub(crate) fn for_files() -> OpenRecord {
        OpenRecord { mode: OpenMode::Files, others: BTreeMap::new() }
    }

    /// Records files on another machine.
    pub(crate) fn for_remote() -> OpenRecord {
        OpenRecord { mode: OpenMode::Remote, others: BTreeMap::new() }
    }

    /// Adds a file that could not be opened and is not part of the model.
    pub(crate) fn add_unopened(&mut self, path: &str) {
        self.others.insert(path.to_owned(), OtherEntry::Unopened);
    }
}

/// The options for another walk, which does not need the expected files.
fn for_walking(options: &OpenOptions) -> OpenOptions {
    OpenOptions { expected_files: None, ..options.clone() }
}

/// The entries of a tree that are not files.
pub(super) fn others(tree: &Tree) -> BTreeMap<String, OtherEntry> {
    let mut others: BTreeMap<String, OtherEntry> =
        tree.directories.iter().map(|path| (path.clone(), OtherEntry::Directory)).collect();
    let skipped = tree.skipped.iter().filter(|skipped| skipped.kind == SkipReason::AlreadyListed);
    others.extend(skipped.map(|skipped| (skipped.path.clone(), OtherEntry::AlreadyListed)));
    let links = tree.link_targets.iter();
    others.extend(links.map(|(path, target)| (path.clone(), OtherEntry::Link(target.clone()))));
    let problems = tree.problems.iter();
    others.extend(problems.map(|it| (it.file.clone(), OtherEntry::Problem(it.message.clone()))));
    others
}
