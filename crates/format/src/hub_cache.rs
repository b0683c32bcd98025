//! Recognises the cache of `huggingface_hub`, which holds many models but is not a model itself.

use std::fs;
use std::path::{Path, PathBuf};

/// The prefix of model directories in the cache.
pub const MODELS: &str = "models--";

/// The directory of the revisions of a model.
const SNAPSHOTS: &str = "snapshots";

/// The directory of the cache in the home of the client.
const HUB: &str = "hub";

/// The files of the client itself in the cache.
const CLIENT_FILES: [&str; 5] =
    ["CACHEDIR.TAG", "stored_tokens", "token", "version.txt", "version_diffusers_cache.txt"];

/// The snapshots of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSnapshots {
    /// The first [`CacheSnapshots::MAX_LISTED`] snapshots, in order.
    pub first: Vec<PathBuf>,
    /// The number of snapshots.
    pub count: u64,
}

impl CacheSnapshots {
    /// The largest number of snapshots in [`CacheSnapshots::first`].
    pub const MAX_LISTED: usize = 3;

    /// Finds the snapshots in a directory if it is a cache, the home of the client, or a repository in a cache.
    /// A directory with other files is not a cache.
    pub fn find(directory: &Path) -> Option<CacheSnapshots> {
        let mut snapshots = CacheSnapshots { first: Vec::new(), count: 0 };
        let name = directory.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with(MODELS)) && is_repository(directory) {
            snapshots.add_repository(directory);
        } else if let Some(repositories) =
            repositories(directory).or_else(|| repositories(&directory.join(HUB)))
        {
            repositories.iter().for_each(|repository| snapshots.add_repository(repository));
        } else {
            return None;
        }
        let has_files = names(directory)?.iter().any(|(name, kind)| {
            kind.is_file() && !name.starts_with('.') && !CLIENT_FILES.contains(&name.as_str())
        });
        (!has_files).then_some(snapshots)
    }

    fn add_repository(&mut self, repository: &Path) {
        let snapshots = repository.join(SNAPSHOTS);
        for (name, _) in names(&snapshots).unwrap_or_default() {
            let snapshot = snapshots.join(name);
            if snapshot.is_dir() {
                self.count += 1;
                if self.first.len() < Self::MAX_LISTED {
                    self.first.push(snapshot);
                }
            }
        }
    }
}

/// The model repositories in a directory, if there are any.
fn repositories(directory: &Path) -> Option<Vec<PathBuf>> {
    let entries = names(directory)?;
    let models = entries.iter().filter(|(name, kind)| kind.is_dir() && name.starts_with(MODELS));
    let paths: Vec<PathBuf> = models.map(|(name, _)| directory.join(name)).collect();
    paths.iter().any(|path| is_repository(path)).then_some(paths)
}

/// Whether a directory is a repository in a cache: it has `snapshots` or `blobs`.
pub fn is_repository(directory: &Path) -> bool {
    directory.join(SNAPSHOTS).is_dir() || directory.join("blobs").is_dir()
}

/// The entries of a directory with UTF-8 names, in order, or `None` if it cannot be listed.
fn names(directory: &Path) -> Option<Vec<(String, fs::FileType)>> {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().into_string().ok()?, entry.file_type().ok()?))
        })
        .collect();
    entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_known_by_its_layout() {
        let dir = tempfile::tempdir().unwrap();
        let hub = dir.path().join(HUB);
        for name in ["a", "b", "c", "d"] {
            fs::create_dir_all(hub.join("models--org--m/snapshots").join(name)).unwrap();
        }
        fs::create_dir_all(hub.join("models--org--n/blobs")).unwrap();
        fs::write(hub.join("version.txt"), "1").unwrap();
        let repository = hub.join("models--org--m");
        let expected = ["a", "b", "c"].map(|name| repository.join(SNAPSHOTS).join(name));
        for place in [dir.path(), &hub, &repository] {
            let found = CacheSnapshots::find(place).unwrap();
            assert_eq!((&found.first[..], found.count), (&expected[..], 4), "{}", place.display());
        }
        for place in ["models--org--m/snapshots", "models--org--m/snapshots/a", "none"] {
            assert_eq!(CacheSnapshots::find(&hub.join(place)), None, "{place}");
        }
        let empty = CacheSnapshots::find(&hub.join("models--org--n")).unwrap();
        assert_eq!(empty.count, 0);
        fs::write(hub.join("config.json"), "{}").unwrap();
        assert_eq!(CacheSnapshots::find(&hub), None, "a model with a cache in it");
    }
}
