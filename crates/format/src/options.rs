//! The options of opening a model.

use std::collections::BTreeSet;

/// The options of [`Checkpoint::open`](super::Checkpoint::open).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Whether to follow symbolic links that lead out of the model.
    pub allow_symlinks: bool,
    /// Whether `.git`, `.gitignore`, `.gitattributes` and `.github` at the top are part of the model.
    pub include_git_paths: bool,
    /// Paths relative to the root that are not part of the model and that no signature of its files covers: the
    /// signature itself.
    pub exclude: Vec<String>,
    /// Paths relative to the root that are not part of the model, but that a signature of its files covers: seals
    /// and chunk digests.
    pub seals: Vec<String>,
    /// Paths relative to the root of signatures of the model that this run does not verify. They are not part of it.
    pub signatures: Vec<String>,
    /// Whether to list signed-only files, too: seals and the metadata of the download client. See
    /// [`super::ModelFile::signed_only`].
    pub list_signed_only: bool,
    /// The files that are known to belong to the model (from a seal). Other files cannot change the names of the
    /// tensors in these.
    pub expected_files: Option<BTreeSet<String>>,
}
