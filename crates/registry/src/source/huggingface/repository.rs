//! One repository of a cache.

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

/// How deep names of references are nested: `refs/pr/1`.
const MAX_DEPTH: usize = 8;

/// Length of a commit in hexadecimal digits, and a line end or two.
const MAX_REF: u64 = 64;

/// The name of what no snapshot links to.
const UNREFERENCED: &str = "#unreferenced-blobs";

/// See the module.
pub(super) struct Repository {
    place: PathBuf,
    /// `ORG/NAME`.
    id: String,
}

impl Repository {
    pub(super) fn new(place: PathBuf, id: String) -> Repository {
        Repository { place, id }
    }

    /// Gives each snapshot: under the name of the repository the one that `main` points to, the others with
    /// that of their reference, or their commit. Then the blobs that no snapshot links to.
    pub(super) fn list(
        &self,
        each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SourceError> {
        let mut used = BTreeSet::new();
        let mut found = Vec::new();
        for (name, commit) in self.snapshots()? {
            found.push(self.snapshot(&name, &commit, &mut used));
        }
        let is_told = found.iter().any(|listed| !listed.incomplete.is_empty());
        let unreferenced = self.unreferenced(&used, is_told);
        found.sort_by(|a, b| a.name.cmp(&b.name));
        for listed in found.into_iter().chain(unreferenced) {
            if each(listed).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The name of each snapshot, and its commit.
    fn snapshots(&self) -> Result<BTreeMap<String, String>, SourceError> {
        let mut references = BTreeMap::new();
        let place = self.place.join("refs");
        if place.is_dir() {
            read_references(&place, String::new(), 0, &mut references)?;
        }
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        let mut commits: BTreeSet<String> = BTreeSet::new();
        // `main` first, then the others in their order: a snapshot is read once, whoever points to it.
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
            let why = "nothing of the commit that its reference names is here".to_owned();
            return entry(ListedModel { incomplete: vec![why], ..ListedModel::default() });
        }
        let tree = trees::read(&self.place, commit);
        let mut claims = |found: &DiscoveredFile, file: &mut ListedFile| {
            let blob = found.location.local().ok().and_then(Path::file_name);
            let blob = blob.and_then(|name| name.to_str());
            if let Some(blob) = blob.filter(|_| found.origin.link.is_some()) {
                used.insert(blob.to_owned());
                file.digests.extend(blobs::blob_digest(blob));
            }
            let listed = tree.as_ref().and_then(|tree| tree.get(&found.path));
            if let Some(claim) = listed.and_then(trees::TreeFile::listed_digest)
                && !file.digests.iter().any(|other| other.has_same_digest(&claim))
            {
                file.digests.push(claim);
            }
        };
        let mut listed = match local::list(&place, &mut claims) {
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

    /// That downloads were not finished, if any was not.
    fn unfinished(&self) -> Option<String> {
        let (found, _) = entries(&self.place.join("blobs")).ok()?;
        let is_unfinished = |(name, kind): &&(String, fs::FileType)| {
            kind.is_file() && name.ends_with(".incomplete")
        };
        match found.iter().filter(is_unfinished).count() {
            0 => None,
            1 => Some("a download was not finished".to_owned()),
            n => Some(format!("{n} downloads were not finished")),
        }
    }

    /// Blobs that no snapshot links to: what was left of earlier ones. That a download was not finished
    /// may be told by a snapshot that lacks something.
    fn unreferenced(&self, used: &BTreeSet<String>, is_told: bool) -> Option<ListedModel> {
        let place = self.place.join("blobs");
        let (found, _) = entries(&place).ok()?;
        let mut files = Vec::new();
        for (name, kind) in found {
            let claim =
                blobs::blob_digest(&name).filter(|_| kind.is_file() && !used.contains(&name));
            let Some(claim) = claim else { continue };
            let Ok(metadata) = fs::metadata(place.join(&name)) else { continue };
            files.push(ListedFile {
                path: name,
                bytes: metadata.len(),
                change_token: ChangeToken::Identity(FileIdentity::of(&metadata)),
                digests: vec![claim],
            });
        }
        let incomplete: Vec<String> = self.unfinished().filter(|_| !is_told).into_iter().collect();
        let name = format!("{}{UNREFERENCED}", self.id);
        if !incomplete.is_empty() {
            return Some(ListedModel { name, files, incomplete, ..ListedModel::default() });
        }
        let why = match files.len() {
            0 => return None,
            1 => "a blob that no snapshot links to".to_owned(),
            n => format!("{n} blobs that no snapshot links to"),
        };
        Some(ListedModel { name, files, not_a_model: Some(why), ..ListedModel::default() })
    }

    /// Opens what was listed.
    pub(super) fn open(&self, listed: &ListedModel) -> Result<OpenedModel, SourceError> {
        let changed = |place: &Path, what: &str| SourceError::Changed {
            place: place.display().to_string(),
            what: what.to_owned(),
        };
        if listed.name.ends_with(UNREFERENCED) {
            let place = self.place.join("blobs");
            let mut checkpoint = Checkpoint::open(&place, &local::options())?;
            let wanted: BTreeSet<&str> = listed.files.iter().map(|f| f.path.as_str()).collect();
            checkpoint.retain_as_bytes(|file| wanted.contains(file.path.as_str()));
            return Ok(OpenedModel::from_checkpoint(checkpoint));
        }
        let Some(commit) = &listed.version else {
            return Err(changed(&self.place, "it has no commit"));
        };
        let place = self.place.join("snapshots").join(commit);
        let mut checkpoint = Checkpoint::open(&place, &local::options())?;
        if !listed.incomplete.is_empty() {
            // Of a part that was downloaded it is known already that the other shards are not here.
            checkpoint.problems.retain(|problem| problem.rule != "format/shard-missing");
        }
        Ok(OpenedModel::from_checkpoint(checkpoint).with_seal(local::seal_location(&place, listed)))
    }
}

/// Whether a file of a snapshot holds weights, by its name: a seal is no sign of any.
fn is_weights(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    is_model_marker(name) || is_array(name)
}

/// Reads the references below a directory, each a file that holds a commit.
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

/// Whether a text is the id of a commit: it becomes a part of a path.
fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What the commit has and the snapshot does not.
fn missing(tree: &BTreeMap<String, trees::TreeFile>, listed: &ListedModel) -> Option<String> {
    let here: BTreeMap<&str, u64> =
        listed.files.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
    // What is left out of every model is not missed.
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
        "{} of the {total} files of its commit are not here ({which}; {bytes} bytes): a partial snapshot",
        missing.len()
    ))
}

/// Links of a snapshot whose blob is not there.
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
        1 => format!("the blob of {first} is not here"),
        n => format!("the blobs of {first} and {} more files are not here", n - 1),
    })
}
