//! What a model was when it was opened: what it is compared with at the end of a run.

use super::directory::Tree;
use super::options::OpenOptions;
use super::problem::LeftOut;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How a model was opened, and what was there besides its files.
#[derive(Debug)]
pub(super) struct Start {
    pub how: How,
    pub others: BTreeMap<String, Other>,
}

/// Where its files were found.
#[derive(Debug)]
pub(super) enum How {
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
pub(super) enum Other {
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
    /// That it was not there, in words.
    pub fn added(&self) -> &'static str {
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

/// What there is besides files.
pub(super) fn others(tree: &Tree) -> BTreeMap<String, Other> {
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
