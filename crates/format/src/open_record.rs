//! What a model was when it was opened: what it is compared with at the end of a run.

use super::directory::Tree;
use super::options::OpenOptions;
use super::problem::SkipReason;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How a model was opened, and what was there besides its files.
#[derive(Debug)]
pub(super) struct OpenRecord {
    pub mode: OpenMode,
    pub others: BTreeMap<String, OtherEntry>,
}

/// Where its files were found.
#[derive(Debug)]
pub(super) enum OpenMode {
    /// As all that a directory holds.
    Directory(OpenOptions),
    /// As the parts of one model in a directory; this is the name of one of them.
    Parts(OpenOptions, String),
    /// As these files and no others.
    Files,
    /// On another machine, which pins each read to what was listed.
    Remote,
}

/// Something that is no file of the model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OtherEntry {
    Directory,
    /// A link to a directory: where it leads.
    Link(PathBuf),
    /// A directory that is listed under another path.
    AlreadyListed,
    /// What is wrong with it.
    Problem(String),
    /// A file that was found and could not be opened under this name.
    Unopened,
}

impl OtherEntry {
    /// That it was not there, in words.
    pub(crate) fn added(&self) -> &'static str {
        match self {
            OtherEntry::Directory | OtherEntry::AlreadyListed => "a directory was added",
            OtherEntry::Link(_) => "a link was added",
            OtherEntry::Problem(_) | OtherEntry::Unopened => "it was added",
        }
    }
}

impl OpenRecord {
    /// Of a directory, with all that the first walk found in it.
    pub(crate) fn for_directory(options: &OpenOptions, tree: &Tree) -> OpenRecord {
        OpenRecord { mode: OpenMode::Directory(for_walking(options)), others: others(tree) }
    }

    /// Of the parts of one model, of which one has this name.
    pub(crate) fn for_parts(options: &OpenOptions, part: &str, tree: &Tree) -> OpenRecord {
        OpenRecord {
            mode: OpenMode::Parts(for_walking(options), part.to_owned()),
            others: others(tree),
        }
    }

    /// Of files that stand for themselves.
    pub(crate) fn for_files() -> OpenRecord {
        OpenRecord { mode: OpenMode::Files, others: BTreeMap::new() }
    }

    /// Of files of another machine.
    pub(crate) fn for_remote() -> OpenRecord {
        OpenRecord { mode: OpenMode::Remote, others: BTreeMap::new() }
    }

    /// Notes a file that was found and is none of the model's.
    pub(crate) fn unopened(&mut self, path: &str) {
        self.others.insert(path.to_owned(), OtherEntry::Unopened);
    }
}

/// What the walk needs: which files a seal expects changes nothing of what is there.
fn for_walking(options: &OpenOptions) -> OpenOptions {
    OpenOptions { expected_files: None, ..options.clone() }
}

/// What there is besides files.
pub(super) fn others(tree: &Tree) -> BTreeMap<String, OtherEntry> {
    let mut others: BTreeMap<String, OtherEntry> =
        tree.directories.iter().map(|path| (path.clone(), OtherEntry::Directory)).collect();
    let again = tree.skipped.iter().filter(|left| left.kind == SkipReason::AlreadyListed);
    others.extend(again.map(|left| (left.path.clone(), OtherEntry::AlreadyListed)));
    let links = tree.link_targets.iter();
    others.extend(links.map(|(path, target)| (path.clone(), OtherEntry::Link(target.clone()))));
    let problems = tree.problems.iter();
    others.extend(problems.map(|it| (it.file.clone(), OtherEntry::Problem(it.message.clone()))));
    others
}
