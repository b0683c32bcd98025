//! Models in directories of this machine.

use super::{ChangeToken, ListedFile, ListedModel, SourceError};
use std::fs;
use std::path::Path;
use tensorseal_core::{pinpoint::chunk_digests, seal};
use tensorseal_format::directory::{DiscoveredFile, Tree, walk};
use tensorseal_format::{FileIdentity, Location, OpenError, OpenOptions};

/// Names that programs give to signatures of models: OpenSSF Model Signing's own, and Sigstore's ending.
pub(super) fn is_signature(name: &str) -> bool {
    name == "model.sig" || name.ends_with(".sigstore.json") || name.ends_with(".sigstore")
}

/// How a model of a registry is opened.
pub(super) fn options() -> OpenOptions {
    OpenOptions {
        seals: vec![seal::FILE_NAME.to_owned(), chunk_digests::FILE_NAME.to_owned()],
        ..OpenOptions::default()
    }
}

/// The files below a directory, as those of a model. `claims` is asked for each.
pub(super) fn list(
    directory: &Path,
    claims: &mut dyn FnMut(&DiscoveredFile, &mut ListedFile),
) -> Result<ListedModel, SourceError> {
    let Tree { files, skipped: not_covered, .. } = walk(directory, &options())?;
    let mut listed = ListedModel::default();
    for found in &files {
        let failed = |error| OpenError::for_found_path(&found.location.display_path(), error);
        let metadata = found.location.local().and_then(fs::metadata).map_err(failed)?;
        let mut file = ListedFile {
            path: found.path.clone(),
            bytes: metadata.len(),
            change_token: ChangeToken::Identity(FileIdentity::of(&metadata)),
            digests: Vec::new(),
        };
        claims(found, &mut file);
        listed.files.push(file);
    }
    listed.detect_signatures();
    listed.sealed = not_covered.iter().any(|left| left.path == seal::FILE_NAME);
    // One that is gone by now is told of when it is read.
    if let Ok(metadata) = fs::metadata(directory.join(seal::FILE_NAME))
        && listed.sealed
    {
        listed.sidecars.push(ListedFile {
            path: seal::FILE_NAME.to_owned(),
            bytes: metadata.len(),
            change_token: ChangeToken::Identity(FileIdentity::of(&metadata)),
            digests: Vec::new(),
        });
    }
    Ok(listed)
}

/// Whether what lies beside the model in a directory is what was listed. The model itself tells the rest.
pub(super) fn ensure_sidecars_unchanged(
    directory: &Path,
    listed: &ListedModel,
) -> Result<(), SourceError> {
    for file in &listed.sidecars {
        let ChangeToken::Identity(was) = &file.change_token else { continue };
        let place = directory.join(&file.path);
        let what = match fs::metadata(&place) {
            Ok(now) => was.difference(&FileIdentity::of(&now)),
            Err(_) => Some("it is gone"),
        };
        if let Some(what) = what {
            return Err(OpenError::ChangedDuringRun { path: place, what }.into());
        }
    }
    Ok(())
}

/// The seal of a model in a directory.
pub(super) fn seal_location(directory: &Path, listed: &ListedModel) -> Option<Location> {
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
