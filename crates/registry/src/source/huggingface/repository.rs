//! Lists and opens the snapshots of one repository of a cache.

use super::blobs;
use super::trees;
use crate::source::local::{self, entries};
use crate::source::model_markers::{is_array, is_model_marker};
use crate::source::{ChangeToken, ListedFile, ListedModel, OpenedModel, SourceError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tensorseal_base::display::display_name;
use tensorseal_base::regular_file;
use tensorseal_format::directory::DiscoveredFile;
use tensorseal_format::{Checkpoint, FileIdentity, GIT_NAMES, OpenError};

/// The largest depth of a reference below `refs`, such as `refs/pr/1`.
const MAX_DEPTH: usize = 8;

/// The longest reference file in bytes: a commit in hexadecimal digits, and line ends.
const MAX_REF: u64 = 64;

/// The suffix of the entry with the blobs to which no snapshot links.
const UNREFERENCED: &str = "#unreferenced-blobs";

/// A model repository of a cache.
pub(super) struct Repository {
    place: PathBuf,
    /// The id of the repository: `ORG/NAME`.
    id: String,
}

impl Repository {
    pub(super) fn new(place: PathBuf, id: String) -> Repository {
        Repository { place, id }
    }

    /// Calls `each` for every snapshot and then for the blobs to which no snapshot links. The snapshot of `main` has the
    /// name of the repository; the others have their reference or commit appended.
    pub(super) fn list(
        &self,
        each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SourceError> {
        let mut used = BTreeSet::new();
        let mut found = Vec::new();
        for (name, commit) in self.snapshots()? {
            found.push(self.snapshot(&name, &commit, &mut used));
        }
        let is_reported = found.iter().any(|listed| !listed.incomplete.is_empty());
        let unreferenced = self.unreferenced(&used, is_reported);
        found.sort_by(|a, b| a.name.cmp(&b.name));
        for listed in found.into_iter().chain(unreferenced) {
            if each(listed).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Returns the commits of all snapshots by name.
    fn snapshots(&self) -> Result<BTreeMap<String, String>, SourceError> {
        let mut references = BTreeMap::new();
        let place = self.place.join("refs");
        if place.is_dir() {
            read_references(&place, String::new(), 0, &mut references)?;
        }
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        let mut commits: BTreeSet<String> = BTreeSet::new();
        // `main` comes first: a snapshot with several references is listed once.
        let main = references.remove_entry("main");
        for (reference, commit) in main.into_iter().chain(references) {
            if commits.insert(commit.clone()) {
                let name = match reference.as_str() {
                    "main" => self.id.clone(),
                    other => format!("{}@{other}", self.id),
                };
                named.insert(name, commit);
            }
        }
        let place = self.place.join("snapshots");
        if place.is_dir() {
            for (commit, kind) in entries(&place)?.0 {
                if kind.is_dir() && !commits.contains(&commit) {
                    named.insert(format!("{}@{commit}", self.id), commit);
                }
            }
        }
        Ok(named)
    }

    fn snapshot(&self, name: &str, commit: &str, used: &mut BTreeSet<String>) -> ListedModel {
        let entry = |listed: ListedModel| ListedModel {
            name: name.to_owned(),
            version: Some(commit.to_owned()),
            ..listed
        };
        let place = self.place.join("snapshots").join(commit);
        if !place.is_dir() {
            let why = "the snapshot of the commit in its reference is missing".to_owned();
            return entry(ListedModel { incomplete: vec![why], ..ListedModel::default() });
        }
        let tree = trees::read(&self.place, commit);
        let mut add_digests = |found: &DiscoveredFile, file: &mut ListedFile| {
            let blob = found.location.local().ok().and_then(Path::file_name);
            let blob = blob.and_then(|name| name.to_str());
            if let Some(blob) = blob.filter(|_| found.origin.link.is_some()) {
                used.insert(blob.to_owned());
                file.digests.extend(blobs::blob_digest(blob));
            }
            let listed = tree.as_ref().and_then(|tree| tree.get(&found.path));
            if let Some(digest) = listed.and_then(trees::TreeFile::listed_digest)
                && !file.digests.iter().any(|other| other.has_same_digest(&digest))
            {
                file.digests.push(digest);
            }
        };
        let mut listed = match local::list(&place, &mut add_digests) {
            Ok(listed) => listed,
            Err(error) => {
                return entry(ListedModel::unreadable(name.to_owned(), error));
            }
        };
        if let Some(tree) = &tree {
            listed.incomplete.extend(missing(tree, &listed));
        }
        let broken = broken_links(&place);
        if !listed.files.iter().any(|file| is_weights(&file.path)) {
            match (self.unfinished(), &broken) {
                (Some(unfinished), _) => listed.incomplete.push(unfinished),
                (None, Some(_)) => {}
                (None, None) => listed.not_a_model = Some("a snapshot without weights".to_owned()),
            }
        }
        listed.incomplete.extend(broken);
        entry(listed)
    }

    /// Returns a sentence about unfinished downloads, if there are any.
    fn unfinished(&self) -> Option<String> {
        let (found, _) = entries(&self.place.join("blobs")).ok()?;
        let is_unfinished = |(name, kind): &&(String, fs::FileType)| {
            kind.is_file() && name.ends_with(".incomplete")
        };
        match found.iter().filter(is_unfinished).count() {
            0 => None,
            1 => Some("one download is unfinished".to_owned()),
            n => Some(format!("{n} downloads are unfinished")),
        }
    }

    /// Returns the entry with the blobs to which no snapshot links. They are left over from earlier snapshots. Unfinished
    /// downloads are added unless they are reported by an incomplete snapshot (`is_reported`).
    fn unreferenced(&self, used: &BTreeSet<String>, is_reported: bool) -> Option<ListedModel> {
        let place = self.place.join("blobs");
        let (found, _) = entries(&place).ok()?;
        let mut files = Vec::new();
        for (name, kind) in found {
            let digest =
                blobs::blob_digest(&name).filter(|_| kind.is_file() && !used.contains(&name));
            let Some(digest) = digest else { continue };
            let Ok(metadata) = fs::metadata(place.join(&name)) else { continue };
            files.push(ListedFile {
                path: name,
                bytes: metadata.len(),
                change_token: ChangeToken::Identity(FileIdentity::of(&metadata)),
                digests: vec![digest],
            });
        }
        let incomplete: Vec<String> =
            self.unfinished().filter(|_| !is_reported).into_iter().collect();
        let name = format!("{}{UNREFERENCED}", self.id);
        if !incomplete.is_empty() {
            return Some(ListedModel { name, files, incomplete, ..ListedModel::default() });
        }
        let why = match files.len() {
            0 => return None,
            1 => "one blob to which no snapshot links".to_owned(),
            n => format!("{n} blobs to which no snapshot links"),
        };
        Some(ListedModel { name, files, not_a_model: Some(why), ..ListedModel::default() })
    }

    /// Opens a listed entry.
    ///
    /// # Errors
    /// Returns [`SourceError::Open`] if the files cannot be read.
    pub(super) fn open(&self, listed: &ListedModel) -> Result<OpenedModel, SourceError> {
        let changed = |place: &Path, what: &str| SourceError::Changed {
            place: place.display().to_string(),
            what: what.to_owned(),
        };
        if listed.name.ends_with(UNREFERENCED) {
            let place = self.place.join("blobs");
            let mut checkpoint = Checkpoint::open(&place, &local::options())?;
            let listed_paths: BTreeSet<&str> =
                listed.files.iter().map(|f| f.path.as_str()).collect();
            checkpoint.retain_as_bytes(|file| listed_paths.contains(file.path.as_str()));
            return Ok(OpenedModel::from_checkpoint(checkpoint));
        }
        let Some(commit) = &listed.version else {
            return Err(changed(&self.place, "the snapshot has no commit"));
        };
        let place = self.place.join("snapshots").join(commit);
        let mut checkpoint = Checkpoint::open(&place, &local::options())?;
        if !listed.incomplete.is_empty() {
            // A partial snapshot already reports its missing files.
            checkpoint.problems.retain(|problem| problem.rule != "format/shard-missing");
        }
        Ok(OpenedModel::from_checkpoint(checkpoint).with_seal(local::seal_location(&place, listed)))
    }
}

/// Returns whether a file of a snapshot holds weights, by its name.
fn is_weights(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    is_model_marker(name) || is_array(name)
}

/// Reads the references below a directory. Each is a file that contains a commit.
fn read_references(
    place: &Path,
    prefix: String,
    depth: usize,
    found: &mut BTreeMap<String, String>,
) -> Result<(), OpenError> {
    for (name, kind) in entries(place)?.0 {
        let (path, reference) = (place.join(&name), format!("{prefix}{name}"));
        if kind.is_dir() && depth < MAX_DEPTH {
            read_references(&path, format!("{reference}/"), depth + 1, found)?;
        } else if kind.is_file()
            && let Ok(text) = regular_file::read_at_most(&path, MAX_REF)
            && let Ok(commit) = std::str::from_utf8(&text)
            && is_commit(commit.trim())
        {
            found.insert(reference, commit.trim().to_owned());
        }
    }
    Ok(())
}

/// Returns whether a text is a commit id. It becomes a part of a path, so nothing else is accepted.
fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns a sentence about the files of the commit that are missing in the snapshot.
fn missing(tree: &BTreeMap<String, trees::TreeFile>, listed: &ListedModel) -> Option<String> {
    let here: BTreeMap<&str, u64> =
        listed.files.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
    // Git metadata is not part of a model, so it is not missing.
    let counts = |path: &str| !GIT_NAMES.contains(&path.split('/').next().unwrap_or_default());
    let missing: Vec<(&String, &trees::TreeFile)> =
        tree.iter().filter(|(path, _)| counts(path) && !here.contains_key(path.as_str())).collect();
    let (first, _) = missing.first()?;
    let bytes: u64 = missing.iter().map(|(_, entry)| entry.bytes()).fold(0, u64::saturating_add);
    let shown = display_name(first);
    let total = tree.keys().filter(|path| counts(path)).count();
    let which = match missing.len() {
        1 => shown,
        n => format!("{shown} and {} more", n - 1),
    };
    Some(format!(
        "partial snapshot: {} of the {total} files of its commit are missing ({which}; {bytes} bytes)",
        missing.len()
    ))
}

/// Returns a sentence about the links of a snapshot whose blobs are missing.
fn broken_links(place: &Path) -> Option<String> {
    let (found, _) = entries(place).ok()?;
    let broken: Vec<String> = found
        .into_iter()
        .filter(|(name, kind)| {
            let path = place.join(name);
            kind.is_symlink() && fs::metadata(&path).is_err()
        })
        .map(|(name, _)| display_name(&name))
        .collect();
    let first = broken.first()?;
    Some(match broken.len() {
        1 => format!("the blob of {first} is missing"),
        n => format!("the blobs of {first} and {} more files are missing", n - 1),
    })
}
