//! Where the seal and the signature of a model lie, and what of it they are.

use super::Error;
use super::trust::read_small;
use crate::pinpoint::chunk_digests;
use crate::seal::{self, Seal};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tensorseal_signing::{BUNDLE_FILE_NAME, are_bundles, attestation};

/// Where the seal of a model is, unless told otherwise.
pub fn default_seal(model: &Path) -> PathBuf {
    match model.is_dir() {
        true => model.join(seal::FILE_NAME),
        false => with_suffix(model, ".seal.json"),
    }
}

/// Where the signature of a model is, unless told otherwise.
pub fn default_bundle(model: &Path) -> PathBuf {
    match model.is_dir() {
        true => model.join(BUNDLE_FILE_NAME),
        false => with_suffix(model, ".sig"),
    }
}

/// Where the attestations of a bundle are.
pub fn attestations_of(bundle: &Path) -> PathBuf {
    with_suffix(bundle, attestation::SUFFIX)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The name of a model: that of its directory or file.
///
/// # Errors
/// It is not there.
pub fn model_name(model: &Path) -> io::Result<String> {
    let full = model.canonicalize()?;
    // As it was called, if it was called something: a link has a name of its own.
    let named = model.file_name().or(full.file_name());
    Ok(named.map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned()))
}

/// Whether a seal may be written to `path`: nothing is there, or a file that begins like one.
pub fn may_hold_seal(path: &Path) -> bool {
    const START: &[u8] = b"{\"files\":[";
    let Ok(metadata) = path.metadata() else { return true };
    let mut start = [0; START.len()];
    // Only a regular file is opened: anything else could hang.
    metadata.is_file()
        && File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok())
        && start == START
}

/// Paths, relative to the model, of seals and their fine sidecars that are not part of it.
pub fn seals_inside(model: &Path, named: Option<&Path>) -> Vec<String> {
    let mut inside = vec![seal::FILE_NAME.to_owned(), chunk_digests::FILE_NAME.to_owned()];
    let sidecar = named.map(chunk_digests::path_of).filter(|path| chunk_digests::is_sidecar(path));
    for path in named.into_iter().chain(sidecar.as_deref()) {
        inside.extend(relative(model, path).filter(|path| !inside.contains(path)));
    }
    inside
}

/// Paths, relative to the model, of the signature that `sign` wrote into it and of its attestations, if they hold
/// signature bundles and nothing else. What a seal lists is part of the model: seals of older versions have them.
pub fn signatures_inside(model: &Path, sealed: Option<&Seal>) -> Vec<String> {
    let bundle = default_bundle(model);
    let holds_bundles = |path: &PathBuf| {
        // A link could lead anywhere.
        path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
            && read_small(path, attestation::MAX_FILE).is_ok_and(|text| are_bundles(&text))
    };
    let there = [attestations_of(&bundle), bundle].into_iter().filter(holds_bundles);
    there
        .filter_map(|path| relative(model, &path))
        .filter(|path| sealed.is_none_or(|seal| seal.file(path).is_none()))
        .collect()
}

/// `path` relative to the directory `model`, with `/`, if it lies inside. It need not exist.
pub fn relative(model: &Path, path: &Path) -> Option<String> {
    let model = model.canonicalize().ok()?;
    let full = directory_of(path).canonicalize().ok()?.join(path.file_name()?);
    let parts: Option<Vec<_>> =
        full.strip_prefix(model).ok()?.components().map(|c| c.as_os_str().to_str()).collect();
    Some(parts?.join("/"))
}

/// Those of some paths that lie in the model, relative to it.
pub fn inside(model: &Path, paths: &[&Path]) -> Vec<String> {
    paths.iter().filter_map(|path| relative(model, path)).collect()
}

/// Paths of the model that are to be ignored, relative to it: given as paths of the system or, where
/// there are none of these, as paths of the model.
///
/// # Errors
/// One is not in the model.
pub fn ignored(model: &Path, given: &[PathBuf]) -> Result<Vec<String>, Error> {
    let place = |path: &PathBuf| {
        relative(model, path)
            .or_else(|| relative(model, &model.join(path)))
            .filter(|inside| !inside.is_empty())
            .ok_or_else(|| Error::NotInModel { path: path.clone(), model: model.to_owned() })
    };
    let mut paths = given.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// Whether a file lies where whoever writes the model does not write: not in its directory, nor beside its file,
/// nor in the repository of a cache that it is a snapshot of, under its own name and without its links.
pub fn is_outside_model(model: &Path, file: &Path) -> bool {
    let Some(territory) = model_directory(model) else { return false };
    let named = relative(&territory, file).is_none();
    named && file.canonicalize().is_ok_and(|full| !full.starts_with(&territory))
}

/// The directory that whoever writes the model writes.
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

/// The last part of a path, as it can be shown.
pub fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The directory that a path lies in.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_seal_is_outside_when_whoever_writes_the_model_does_not_write_it() {
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
