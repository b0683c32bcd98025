//! The locations of seals and signatures, and which of them are inside a model.

use super::Error;
use super::trust::read_small;
use crate::pinpoint::chunk_digests;
use crate::seal::{self, Seal};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tensorseal_base::system::directory_of;
use tensorseal_signing::{BUNDLE_FILE_NAME, are_bundles, attestation};

/// Returns the default path of the seal of a model.
pub fn default_seal(model: &Path) -> PathBuf {
    match model.is_dir() {
        true => model.join(seal::FILE_NAME),
        false => with_suffix(model, ".seal.json"),
    }
}

/// Returns the default path of the signature of a model.
pub fn default_bundle(model: &Path) -> PathBuf {
    match model.is_dir() {
        true => model.join(BUNDLE_FILE_NAME),
        false => with_suffix(model, ".sig"),
    }
}

/// Returns the path of the attestations that belong to a signature bundle.
pub fn attestations_of(bundle: &Path) -> PathBuf {
    with_suffix(bundle, attestation::SUFFIX)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns the name of a model: that of its directory or file.
///
/// # Errors
/// Returns an error if there is nothing at the path.
pub fn model_name(model: &Path) -> io::Result<String> {
    let full = model.canonicalize()?;
    // Prefer the name that was given: a link has a name of its own.
    let named = model.file_name().or(full.file_name());
    Ok(named.map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned()))
}

/// Returns whether a seal may be written to `path`: nothing is there, or a file that starts like a seal.
pub fn may_hold_seal(path: &Path) -> bool {
    const START: &[u8] = b"{\"files\":[";
    let Ok(metadata) = path.metadata() else { return true };
    let mut start = [0; START.len()];
    // Only regular files are opened: anything else could block.
    metadata.is_file()
        && File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok())
        && start == START
}

/// Returns the paths of seals and chunk digests, relative to the model, that are not part of the model.
pub fn seals_inside(model: &Path, named: Option<&Path>) -> Vec<String> {
    let mut inside = vec![seal::FILE_NAME.to_owned(), chunk_digests::FILE_NAME.to_owned()];
    let sidecar = named.map(chunk_digests::path_of).filter(|path| chunk_digests::is_sidecar(path));
    for path in named.into_iter().chain(sidecar.as_deref()) {
        inside.extend(relative(model, path).filter(|path| !inside.contains(path)));
    }
    inside
}

/// Returns the paths, relative to the model, of the signature that `sign` wrote into it and of its attestations, if they hold
/// signature bundles and nothing else. What a seal lists is part of the model: seals of older versions have them.
pub fn signatures_inside(model: &Path, sealed: Option<&Seal>) -> Vec<String> {
    let bundle = default_bundle(model);
    let there = [attestations_of(&bundle), bundle].into_iter().filter(|path| holds_bundles(path));
    there
        .filter_map(|path| relative(model, &path))
        .filter(|path| sealed.is_none_or(|seal| seal.file(path).is_none()))
        .collect()
}

/// Returns whether a regular file holds signature bundles and nothing else. A link could lead anywhere, and does not count.
pub fn holds_bundles(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
        && read_small(path, attestation::MAX_FILE).is_ok_and(|text| are_bundles(&text))
}

/// Returns `path` relative to the directory `model`, with `/` as separator, if it is inside. It need not exist.
pub fn relative(model: &Path, path: &Path) -> Option<String> {
    let model = model.canonicalize().ok()?;
    let full = directory_of(path).canonicalize().ok()?.join(path.file_name()?);
    let parts: Option<Vec<_>> =
        full.strip_prefix(model).ok()?.components().map(|c| c.as_os_str().to_str()).collect();
    Some(parts?.join("/"))
}

/// Returns the paths that are inside the model, relative to it.
pub fn inside(model: &Path, paths: &[&Path]) -> Vec<String> {
    paths.iter().filter_map(|path| relative(model, path)).collect()
}

/// Resolves paths to ignore, relative to the model. They are given as paths of the file system or, if there is no such
/// path inside the model, relative to the model.
///
/// # Errors
/// Returns [`Error::NotInModel`] if a path is not inside the model.
pub fn ignored(model: &Path, given: &[PathBuf]) -> Result<Vec<String>, Error> {
    let resolve = |path: &PathBuf| {
        relative(model, path)
            .or_else(|| relative(model, &model.join(path)))
            .filter(|inside| !inside.is_empty())
            .ok_or_else(|| Error::NotInModel { path: path.clone(), model: model.to_owned() })
    };
    let mut paths = given.iter().map(resolve).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// Returns whether a file is outside the reach of those who can write the model: not in its directory, not next to a
/// model file, and not in the cache repository of a snapshot, both by its path and with all links resolved.
pub fn is_outside_model(model: &Path, file: &Path) -> bool {
    let Some(directory) = model_directory(model) else { return false };
    let is_outside_by_path = relative(&directory, file).is_none();
    is_outside_by_path && file.canonicalize().is_ok_and(|full| !full.starts_with(&directory))
}

/// Returns the directory that those who write the model can write.
fn model_directory(model: &Path) -> Option<PathBuf> {
    let full = model.canonicalize().ok()?;
    let directory = match full.is_dir() {
        true => full,
        false => full.parent()?.to_owned(),
    };
    let repository = directory.ancestors().find_map(|snapshot| {
        let snapshots = snapshot.parent().filter(|parent| parent.ends_with("snapshots"))?;
        let repository = snapshots.parent()?;
        let name = repository.file_name()?.to_str()?;
        name.starts_with("models--").then(|| repository.to_owned())
    });
    Some(repository.unwrap_or(directory))
}

/// Returns the last component of a path as text.
pub fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_seal_is_outside_if_writers_of_the_model_cannot_write_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in ["m", "out", "models--a--b/snapshots/1", "models--a--b/blobs"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for path in ["m/s.json", "m/w.bin", "out/s.json", "models--a--b/blobs/s.json"] {
            fs::write(at(path), "").unwrap();
        }
        std::os::unix::fs::symlink(at("m/s.json"), at("out/in.json")).unwrap();
        std::os::unix::fs::symlink(at("out/s.json"), at("m/out.json")).unwrap();
        let outside = |model: &str, seal: &str| is_outside_model(&at(model), &at(seal));
        assert!(outside("m", "out/s.json") && outside("m/w.bin", "out/s.json"));
        assert!(!outside("m", "m/s.json") && !outside("m/w.bin", "m/s.json"));
        assert!(!outside("m", "out/in.json"), "a link into the model");
        assert!(!outside("m", "m/out.json"), "a link in the model");
        assert!(!outside("m", "out/../m/s.json") && !outside("m", "out/none.json"));
        assert!(!outside("models--a--b/snapshots/1", "models--a--b/blobs/s.json"));
        assert!(outside("models--a--b/snapshots/1", "out/s.json"));
    }
}
