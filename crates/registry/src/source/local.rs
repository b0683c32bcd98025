//! Models in directories of this machine.

use super::{Listed, ListedFile, Mark, SourceError};
use std::fs;
use std::path::Path;
use tensorseal_core::{pinpoint::fine, seal};
use tensorseal_format::directory::{Found, Tree, walk};
use tensorseal_format::{FileIdentity, Location, OpenError, OpenOptions};

/// Names that programs give to signatures of models: OpenSSF Model Signing's own, and Sigstore's ending.
pub(super) fn is_signature(name: &str) -> bool {
    name == "model.sig" || name.ends_with(".sigstore.json") || name.ends_with(".sigstore")
}

/// How a model of a registry is opened.
pub(super) fn options() -> OpenOptions {
    OpenOptions {
        seals: vec![seal::FILE_NAME.to_owned(), fine::FILE_NAME.to_owned()],
        ..OpenOptions::default()
    }
}

/// The files below a directory, as those of a model. `claims` is asked for each.
pub(super) fn list(
    directory: &Path,
    claims: &mut dyn FnMut(&Found, &mut ListedFile),
) -> Result<Listed, SourceError> {
    let Tree { files, not_covered, .. } = walk(directory, &options())?;
    let mut listed = Listed::default();
    for found in &files {
        let failed = |error| OpenError::of_found(&found.location.shown(), error);
        let metadata = found.location.local().and_then(fs::metadata).map_err(failed)?;
        let mut file = ListedFile {
            path: found.path.clone(),
            bytes: metadata.len(),
            mark: Mark::Identity(FileIdentity::of(&metadata)),
            claims: Vec::new(),
        };
        claims(found, &mut file);
        listed.files.push(file);
    }
    listed.note_signatures();
    listed.sealed = not_covered.iter().any(|left| left.path == seal::FILE_NAME);
    // One that is gone by now is told of when it is read.
    if let Ok(metadata) = fs::metadata(directory.join(seal::FILE_NAME))
        && listed.sealed
    {
        listed.beside.push(ListedFile {
            path: seal::FILE_NAME.to_owned(),
            bytes: metadata.len(),
            mark: Mark::Identity(FileIdentity::of(&metadata)),
            claims: Vec::new(),
        });
    }
    Ok(listed)
}

/// Whether what lies beside the model in a directory is what was listed. The model itself tells the rest.
pub(super) fn still_beside(directory: &Path, listed: &Listed) -> Result<(), SourceError> {
    for file in &listed.beside {
        let Mark::Identity(was) = &file.mark else { continue };
        let place = directory.join(&file.path);
        let what = match fs::metadata(&place) {
            Ok(now) => was.difference(&FileIdentity::of(&now)),
            Err(_) => Some("it is gone"),
        };
        if let Some(what) = what {
            return Err(OpenError::Unsettled { path: place, what }.into());
        }
    }
    Ok(())
}

/// The seal of a model in a directory.
pub(super) fn seal_of(directory: &Path, listed: &Listed) -> Option<Location> {
    listed.sealed.then(|| directory.join(seal::FILE_NAME).into())
}

/// The entries of a directory, in byte order of their names; those whose names are no UTF-8 are counted in
/// the second value.
pub(super) fn entries(directory: &Path) -> Result<(Vec<(String, fs::FileType)>, u64), OpenError> {
    let failed = |error| OpenError::new(directory, error);
    let (mut found, mut unnamed) = (Vec::new(), 0);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        match entry.file_name().into_string() {
            Ok(name) => found.push((name, entry.file_type().map_err(failed)?)),
            Err(_) => unnamed += 1,
        }
    }
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok((found, unnamed))
}
