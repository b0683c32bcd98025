//! Checks at the end of a run that a model is unchanged since it was opened: the same files under the same paths,
//! none of them modified, and nothing added.
//!
//! The engine compares each file with itself after its last byte (`crates/engine/src/stream/files.rs`). But a file
//! that was read early may change until the last file has been read, and an added file is in no list. So
//! everything is listed again.

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

/// Whether a file is compared. The metadata of the download client may change at any time.
fn is_compared(signed_only: Option<SkipReason>) -> bool {
    signed_only.is_none_or(|kind| kind == SkipReason::Seal)
}

impl Checkpoint {
    /// Verifies after a run that the model has the same files, directories and links as when it was opened, and
    /// that no file was modified. Ignores the paths in `written`, which the run itself wrote into the model, and
    /// everything that was not part of the model.
    ///
    /// For a model on another machine nothing is checked here, because each read is pinned to the listed version.
    ///
    /// # Errors
    /// Returns [`OpenError::ChangedDuringRun`] for the first difference, and other errors if the model can no longer
    /// be listed.
    pub fn verify_unchanged(&self, written: &[String]) -> Result<(), OpenError> {
        let without = |options: &OpenOptions| {
            let mut options = options.clone();
            options.exclude.extend_from_slice(written);
            options
        };
        let tree = match &self.opened_as.mode {
            OpenMode::Remote => return Ok(()),
            OpenMode::Files => {
                return self.files.iter().try_for_each(|file| self.compare_listed(file));
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

    /// Compares the files. Both lists are in the order of [`Checkpoint::files`].
    fn compare_files(&self, now: &[DiscoveredFile]) -> Result<(), OpenError> {
        let mut before = self.files.iter().filter(|file| is_compared(file.signed_only)).peekable();
        let mut now = now.iter().filter(|file| is_compared(file.origin.signed_only)).peekable();
        loop {
            let order = match (before.peek(), now.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(file), Some(current)) => {
                    let key = (file.signed_only.is_some(), &file.path);
                    key.cmp(&(current.origin.signed_only.is_some(), &current.path))
                }
            };
            let file = if order.is_le() { before.next() } else { None };
            let current = if order.is_ge() { now.next() } else { None };
            match (file, current) {
                (Some(file), Some(current)) => self.compare(file, &current.location)?,
                (Some(file), None) => return Err(self.changed_during_run(&file.path, "it is gone")),
                (None, Some(current)) if !self.was_unopened(&current.path) => {
                    return Err(self.changed_during_run(&current.path, "it was added"));
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
        for (path, entry) in before.iter().filter(|(_, entry)| **entry != OtherEntry::Unopened) {
            match now.get(path) {
                Some(current) if current == entry => {}
                Some(OtherEntry::Link(_)) => {
                    return Err(self.changed_during_run(path, "it leads elsewhere now"));
                }
                Some(_) => return Err(self.changed_during_run(path, "it is something else now")),
                None => return Err(self.changed_during_run(path, "it is gone")),
            }
        }
        match now.iter().find(|(path, _)| !before.contains_key(*path)) {
            Some((path, entry)) => Err(self.changed_during_run(path, entry.addition())),
            None => Ok(()),
        }
    }

    /// Compares a file of a fixed list. For a single file the path of the user is resolved again.
    fn compare_listed(&self, file: &ModelFile) -> Result<(), OpenError> {
        if self.is_single_file() {
            let location = fs::canonicalize(&self.path)
                .map_err(|error| OpenError::for_found_path(&self.path, error))?;
            return self.compare(file, &Location::Path(location));
        }
        self.compare(file, &file.location)
    }

    fn compare(&self, file: &ModelFile, now: &Location) -> Result<(), OpenError> {
        let (Location::Path(before), Location::Path(now)) = (&file.location, now) else {
            return Ok(());
        };
        if before != now {
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
