//! Lists models in local directories.

use super::{ChangeToken, ListedFile, ListedModel, SourceError};
use std::fs;
use std::path::Path;
use tensorseal_core::{pinpoint::chunk_digests, seal};
use tensorseal_format::directory::{DiscoveredFile, Tree, walk};
use tensorseal_format::{FileIdentity, Location, OpenError, OpenOptions};

/// Returns whether a file name is that of a signature: `model.sig` (OpenSSF Model Signing), or with an extension of
/// Sigstore.
pub(super) fn is_signature(name: &str) -> bool {
    name == "model.sig" || name.ends_with(".sigstore.json") || name.ends_with(".sigstore")
}

/// Returns the options with which models of registries are opened.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::default();
    options.seals = vec![seal::FILE_NAME.to_owned(), chunk_digests::FILE_NAME.to_owned()];
    options
}

/// Lists the files below a directory as a model. `add_digests` is called for each file.
///
/// # Errors
/// Returns [`SourceError::Open`] if the directory or a file cannot be read.
pub(super) fn list(
    directory: &Path,
    add_digests: &mut dyn FnMut(&DiscoveredFile, &mut ListedFile),
) -> Result<ListedModel, SourceError> {
    let Tree { files, skipped, .. } = walk(directory, &options())?;
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
        add_digests(found, &mut file);
        listed.files.push(file);
    }
    listed.detect_signatures();
    listed.sealed = skipped.iter().any(|skipped| skipped.path == seal::FILE_NAME);
    // If the seal is gone by now, reading it reports that.
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

/// Checks that the sidecars of a model are those that were listed. The checkpoint checks the model files.
///
/// # Errors
/// Returns [`OpenError::ChangedDuringRun`] if a sidecar was written or removed.
pub(super) fn ensure_sidecars_unchanged(
    directory: &Path,
    listed: &ListedModel,
) -> Result<(), SourceError> {
    for file in &listed.sidecars {
        let ChangeToken::Identity(was) = &file.change_token else { continue };
        let place = directory.join(&file.path);
        let what = match fs::metadata(&place) {
            Ok(now) => was.difference(&FileIdentity::of(&now)),
            Err(_) => Some("it was removed"),
        };
        if let Some(what) = what {
            return Err(OpenError::ChangedDuringRun { path: place, what }.into());
        }
    }
    Ok(())
}

/// Returns the location of the seal of a model in a directory.
pub(super) fn seal_location(directory: &Path, listed: &ListedModel) -> Option<Location> {
    listed.sealed.then(|| directory.join(seal::FILE_NAME).into())
}

/// Returns the entries of a directory in byte order of their names, and the number of entries whose names are not UTF-8.
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
