//! How a model is opened.

use std::collections::BTreeSet;

/// How a model is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Follow links that lead out of the model.
    pub allow_symlinks: bool,
    /// Take `.git`, `.gitignore`, `.gitattributes` and `.github` at the top as part of the model.
    pub include_git_paths: bool,
    /// Paths relative to the root that neither the model has nor a signature of its files covers: the
    /// signature itself.
    pub exclude: Vec<String>,
    /// Paths relative to the root that are not part of the model, while a signature of its files covers
    /// them: its seals and their sidecars.
    pub seals: Vec<String>,
    /// Paths relative to the root of signatures of the model that this run does not verify. They are not part of it.
    pub signatures: Vec<String>,
    /// Also list the files that a signature covers although they are not part of the model: seals, and the
    /// notes of the downloader. See [`super::ModelFile::beside`].
    pub list_signed_only: bool,
    /// The files that are known to belong to the model (those of a seal): files beside them cannot
    /// change what their tensors are called.
    pub expected_files: Option<BTreeSet<String>>,
}
