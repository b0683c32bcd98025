//! Where a signature and its attestations lie, and what of a model they cover.

use super::args::SignatureArgs;
use crate::cli::{Failure, output, running};
use anyhow::anyhow;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tensorseal::signing::attestation;

/// The name of a bundle in the directory that it signs.
const FILE_NAME: &str = "model.sig";

/// Where the bundle of a model is written, unless told otherwise.
pub fn default_bundle(model: &Path) -> PathBuf {
    match model.is_dir() {
        true => model.join(FILE_NAME),
        false => with_suffix(model, ".sig"),
    }
}

/// The name of the model: that of its directory or file.
pub fn subject(model: &Path) -> Result<String, Failure> {
    let full = model.canonicalize().map_err(Failure::incomplete)?;
    // As it was called, if it was called something: a link has a name of its own.
    let named = model.file_name().or(full.file_name());
    Ok(named.map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned()))
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

/// Paths of the model that a signature and its attestations lie at, whatever they are called.
pub fn of_signature(model: &Path, args: &SignatureArgs) -> Vec<String> {
    let Some(bundle) = args.signature.as_deref() else { return Vec::new() };
    let beside = attestations_of(bundle);
    let named = args.attestations.as_deref().into_iter();
    inside(model, &named.chain([bundle, &beside]).collect::<Vec<_>>())
}

/// Those of some paths that lie in the model, relative to it.
pub fn inside(model: &Path, paths: &[&Path]) -> Vec<String> {
    paths.iter().filter_map(|path| running::relative(model, path)).collect()
}

/// Paths of the model that are to be ignored, relative to it: given as paths of the system or, where
/// there are none of these, as paths of the model.
pub fn ignored(model: &Path, given: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let place = |path: &PathBuf| {
        running::relative(model, path)
            .or_else(|| running::relative(model, &model.join(path)))
            .filter(|inside| !inside.is_empty())
            .ok_or_else(|| {
                let (path, model) = (path.display(), model.display());
                Failure::usage(anyhow!(
                    "{path} is not in {model}: only a part of it can be ignored"
                ))
            })
    };
    let mut paths = given.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// Refuses to write over anything but an older file of the same kind: one that begins with `start`.
pub fn check_output(path: &Path, start: &[u8], what: &str) -> Result<(), Failure> {
    let refused = |why: &str| Err(Failure::usage(anyhow!("{}: {why}", path.display())));
    match path.symlink_metadata() {
        Err(_) if output::directory_of(path).is_dir() => Ok(()),
        Err(_) => {
            let directory = output::directory_of(path).display();
            let error = anyhow!("{}: there is no directory {directory}", path.display());
            Err(Failure::incomplete(error))
        }
        Ok(metadata) if metadata.is_file() => match begins_with(path, start) {
            true => Ok(()),
            false => refused(&format!("is there and is no {what}: it would be overwritten")),
        },
        Ok(_) => refused("is there and is not a regular file"),
    }
}

fn begins_with(path: &Path, start: &[u8]) -> bool {
    use std::io::Read;
    let mut found = Vec::new();
    let file = std::fs::File::open(path);
    file.is_ok_and(|file| file.take(start.len() as u64).read_to_end(&mut found).is_ok())
        && found == start
}
