//! Sources of models: one trait for directories, caches, buckets and servers.

#[cfg(feature = "s3")]
pub mod bucket;
pub mod directory;
#[cfg(any(feature = "mlflow", feature = "oci"))]
mod endpoint;
mod error;
pub mod huggingface;
mod listed;
mod local;
#[cfg(feature = "mlflow")]
pub mod mlflow;
pub mod model_markers;
#[cfg(feature = "oci")]
pub mod oci;
#[cfg(feature = "remote")]
pub mod remote;
mod resolve;
#[cfg(any(feature = "mlflow", feature = "oci"))]
mod spool;

pub use error::SourceError;
pub use listed::{ChangeToken, ListedDigest, ListedFile, ListedModel};
pub use resolve::open;

use std::ops::ControlFlow;
use tensorseal_core::judge::Finding;
use tensorseal_format::{Checkpoint, Location};
#[cfg(any(feature = "mlflow", feature = "oci", feature = "s3"))]
use {
    std::collections::HashMap, std::sync::Arc, tensorseal_core::seal, tensorseal_format::RemoteFile,
};

/// A place that holds models: a directory, a cache, a bucket or a server.
pub trait Source: Send + Sync {
    /// Returns the name of the source in states and reports: an absolute path or a URI, without credentials.
    fn name(&self) -> &str;

    /// Calls `each` for every model until it returns [`ControlFlow::Break`]. Only names, lengths and change tokens are
    /// read.
    ///
    /// A model that cannot be listed is passed with the reason in `ListedModel::unreadable`.
    ///
    /// # Errors
    /// Returns a [`SourceError`] if the source cannot be listed completely.
    fn list(&self, each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>)
    -> Result<(), SourceError>;

    /// Opens a listed model. Its files are those of the listing, or those in [`OpenedModel::files`].
    ///
    /// # Errors
    /// Returns [`SourceError::Changed`] if the model changed after it was listed, and other variants if it cannot be
    /// read.
    fn open(&self, listed: &ListedModel) -> Result<OpenedModel, SourceError>;

    /// Checks, after a model was read, that the source still lists it with the same version, files and change tokens. A
    /// source without change tokens compares what it has.
    ///
    /// # Errors
    /// Returns [`SourceError::Changed`] if the listing differs, and other variants if the source cannot be reached.
    fn ensure_unchanged(&self, listed: &ListedModel) -> Result<(), SourceError>;
}

/// A model that was opened and can be measured.
#[derive(Debug)]
pub struct OpenedModel {
    /// The model.
    pub checkpoint: Checkpoint,
    /// Findings about archives that had to be unpacked while the model was opened.
    pub findings: Vec<Finding>,
    /// The model files in the order of the checkpoint, if they differ from the listing: only opening shows which files
    /// are packed in an archive or are not part of the model, and which digests some sources state. `None` if the
    /// listing is exact.
    pub files: Option<Vec<ListedFile>>,
    /// The location of the seal next to the model, if there is one. It has not been read.
    pub seal: Option<Location>,
}

impl OpenedModel {
    /// Creates an opened model whose files are those of its listing, without findings.
    pub fn from_checkpoint(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, findings: Vec::new(), files: None, seal: None }
    }

    /// Creates an opened model whose files differ from its listing. `candidates` are its files and files that are not part
    /// of it.
    #[cfg(any(feature = "mlflow", feature = "oci", feature = "s3"))]
    pub(crate) fn with_files(
        checkpoint: Checkpoint,
        findings: Vec<Finding>,
        candidates: Vec<ListedFile>,
    ) -> Self {
        let mut by_path: HashMap<String, ListedFile> = HashMap::with_capacity(candidates.len());
        for file in candidates {
            // If two files have the same path, the first one is opened.
            by_path.entry(file.path.clone()).or_insert(file);
        }
        let model_files = checkpoint.model_files().iter();
        let files = model_files.filter_map(|file| by_path.remove(&file.path)).collect();
        Self { checkpoint, findings, files: Some(files), seal: None }
    }

    /// Sets the location of the seal.
    pub(crate) fn with_seal(self, seal: Option<Location>) -> Self {
        Self { seal, ..self }
    }
}

/// Returns the seal among remote files.
#[cfg(any(feature = "mlflow", feature = "oci", feature = "s3"))]
fn find_seal(files: &[(String, Arc<dyn RemoteFile>)]) -> Option<Location> {
    let (_, file) = files.iter().find(|(path, _)| path == seal::FILE_NAME)?;
    Some(Location::Remote(Arc::clone(file)))
}
