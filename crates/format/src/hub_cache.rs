//! The cache of `huggingface_hub`, by its layout: a place with many models, and none itself.

use std::fs;
use std::path::{Path, PathBuf};

/// How directories of models begin.
pub const MODELS: &str = "models--";

/// Where their versions are.
const SNAPSHOTS: &str = "snapshots";

/// Where a cache is in the home of the client.
const HUB: &str = "hub";

/// Files of the client itself, beside its repositories.
const CLIENT_FILES: [&str; 5] =
    ["CACHEDIR.TAG", "stored_tokens", "token", "version.txt", "version_diffusers_cache.txt"];

/// The snapshots of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSnapshots {
    /// The first [`CacheSnapshots::MOST`], in order.
    pub first: Vec<PathBuf>,
    /// How many there are.
    pub count: u64,
}

impl CacheSnapshots {
    /// As many are named.
    pub const MOST: usize = 3;

    /// Those in a directory, if it is a cache, the home that holds one, or a repository of one. A directory
    /// with files of its own is none, whatever lies beside them.
    pub fn find(directory: &Path) -> Option<CacheSnapshots> {
        let mut found = CacheSnapshots { first: Vec::new(), count: 0 };
        let name = directory.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with(MODELS)) && is_repository(directory) {
            found.add_repository(directory);
        } else if let Some(repositories) =
            repositories(directory).or_else(|| repositories(&directory.join(HUB)))
        {
            repositories.iter().for_each(|repository| found.add_repository(repository));
        } else {
            return None;
        }
        let has_files = names(directory)?.iter().any(|(name, kind)| {
            kind.is_file() && !name.starts_with('.') && !CLIENT_FILES.contains(&name.as_str())
        });
        (!has_files).then_some(found)
    }

    fn add_repository(&mut self, repository: &Path) {
        let snapshots = repository.join(SNAPSHOTS);
        for (name, _) in names(&snapshots).unwrap_or_default() {
            let snapshot = snapshots.join(name);
            if snapshot.is_dir() {
                self.count += 1;
                if self.first.len() < Self::MOST {
                    self.first.push(snapshot);
                }
            }
        }
    }
}

/// The repositories of models in a directory, if there is any.
fn repositories(directory: &Path) -> Option<Vec<PathBuf>> {
    let found = names(directory)?;
    let models = found.iter().filter(|(name, kind)| kind.is_dir() && name.starts_with(MODELS));
    let places: Vec<PathBuf> = models.map(|(name, _)| directory.join(name)).collect();
    places.iter().any(|place| is_repository(place)).then_some(places)
}

/// Whether a directory is a repository of a cache, by what it holds.
pub fn is_repository(directory: &Path) -> bool {
    directory.join(SNAPSHOTS).is_dir() || directory.join("blobs").is_dir()
}

/// The entries of a directory in order, as far as their names are UTF-8; `None`: it cannot be listed.
fn names(directory: &Path) -> Option<Vec<(String, fs::FileType)>> {
    let mut found: Vec<_> = fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().into_string().ok()?, entry.file_type().ok()?))
        })
        .collect();
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Some(found)
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
