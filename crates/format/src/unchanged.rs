//! Whether a model is at the end of a run what it was at the start: the same files under the same paths, none of
//! them written to, and nothing beside them that was not there.
//!
//! Each file is compared with itself when its last byte was read (`crates/engine/src/stream/files.rs`). What was
//! read early may change until the last file is read, and what was added is in no list at all: so everything is
//! looked at again.

use super::directory::{self, DiscoveredFile};
use super::error::OpenError;
use super::formats::part_name;
use super::identity::FileIdentity;
use super::location::Location;
use super::model::Checkpoint;
use super::model_file::ModelFile;
use super::open_record::{OpenMode, OtherEntry, others};
use super::options::OpenOptions;
use super::problem::SkipReason;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Whether a file is part of what a verdict speaks of. The downloader writes its notes when it likes.
fn is_compared(beside: Option<SkipReason>) -> bool {
    beside.is_none_or(|kind| kind == SkipReason::Seal)
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
    /// [`OpenError::ChangedDuringRun`], with the first that differs; others, where it cannot be looked at any more.
    pub fn verify_unchanged(&self, own: &[String]) -> Result<(), OpenError> {
        let without = |options: &OpenOptions| {
            let mut options = options.clone();
            options.exclude.extend_from_slice(own);
            options
        };
        let tree = match &self.opened_as.mode {
            OpenMode::Remote => return Ok(()),
            OpenMode::Files => {
                return self.files.iter().try_for_each(|file| self.compare_alone(file));
            }
            OpenMode::Directory(options) => directory::walk(&self.root, &without(options))?,
            OpenMode::Parts(options, part) => {
                let set = part_name(part).map(|part| part.set_key());
                let is_part =
                    |name: &str| set.is_some() && part_name(name).map(|name| name.set_key()) == set;
                directory::walk_only(&self.root, &without(options), &is_part)?
            }
        };
        self.compare_files(&tree.files)?;
        self.compare_others(&others(&tree))
    }

    /// Both are in the order of [`Checkpoint::files`].
    fn compare_files(&self, now: &[DiscoveredFile]) -> Result<(), OpenError> {
        let mut before = self.files.iter().filter(|file| is_compared(file.signed_only)).peekable();
        let mut now = now.iter().filter(|file| is_compared(file.origin.signed_only)).peekable();
        loop {
            let order = match (before.peek(), now.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(file), Some(found)) => {
                    let was = (file.signed_only.is_some(), &file.path);
                    was.cmp(&(found.origin.signed_only.is_some(), &found.path))
                }
            };
            let file = if order.is_le() { before.next() } else { None };
            let found = if order.is_ge() { now.next() } else { None };
            match (file, found) {
                (Some(file), Some(found)) => self.compare(file, &found.location)?,
                (Some(file), None) => return Err(self.changed_during_run(&file.path, "it is gone")),
                (None, Some(found)) if !self.was_unopened(&found.path) => {
                    return Err(self.changed_during_run(&found.path, "it was added"));
                }
                (None, _) => {}
            }
        }
    }

    fn was_unopened(&self, path: &str) -> bool {
        self.opened_as.others.get(path) == Some(&OtherEntry::Unopened)
    }

    fn compare_others(&self, now: &BTreeMap<String, OtherEntry>) -> Result<(), OpenError> {
        let before = &self.opened_as.others;
        for (path, was) in before.iter().filter(|(_, was)| **was != OtherEntry::Unopened) {
            match now.get(path) {
                Some(is) if is == was => {}
                Some(OtherEntry::Link(_)) => {
                    return Err(self.changed_during_run(path, "it leads elsewhere now"));
                }
                Some(_) => return Err(self.changed_during_run(path, "it is something else now")),
                None => return Err(self.changed_during_run(path, "it is gone")),
            }
        }
        match now.iter().find(|(path, _)| !before.contains_key(*path)) {
            Some((path, other)) => Err(self.changed_during_run(path, other.added())),
            None => Ok(()),
        }
    }

    /// A file that was given by itself: where its name leads, and what is there.
    fn compare_alone(&self, file: &ModelFile) -> Result<(), OpenError> {
        if self.is_single_file() {
            let location = fs::canonicalize(&self.path)
                .map_err(|error| OpenError::for_found_path(&self.path, error))?;
            return self.compare(file, &Location::Path(location));
        }
        self.compare(file, &file.location)
    }

    fn compare(&self, file: &ModelFile, now: &Location) -> Result<(), OpenError> {
        let (Location::Path(was), Location::Path(now)) = (&file.location, now) else {
            return Ok(());
        };
        if was != now {
            return Err(self.changed_during_run(&file.path, "it leads elsewhere now"));
        }
        let metadata = fs::metadata(now).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => self.changed_during_run(&file.path, "it is gone"),
            _ => OpenError::for_found_path(now, error),
        })?;
        match file.identity.difference(&FileIdentity::of(&metadata)) {
            Some(what) => Err(self.changed_during_run(&file.path, what)),
            None => Ok(()),
        }
    }

    fn changed_during_run(&self, path: &str, what: &'static str) -> OpenError {
        let root = if self.root == Path::new(".") { Path::new("") } else { &self.root };
        OpenError::ChangedDuringRun { path: root.join(path), what }
    }
}
