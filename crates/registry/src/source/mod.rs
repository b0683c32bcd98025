//! Places that hold models, behind one trait.

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

/// A place that holds models.
pub trait Source: Send + Sync {
    /// What it is called in states and reports: an absolute path or a URI, without credentials.
    fn name(&self) -> &str;

    /// Gives each model to `each`, until that breaks. Nothing but names, lengths and marks is read.
    ///
    /// A model that cannot be listed is given with the reason in [`ListedModel::unreadable`]; the others are
    /// given all the same.
    ///
    /// # Errors
    /// When the source as a whole cannot be listed, or not to its end.
    fn list(&self, each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>)
    -> Result<(), SourceError>;

    /// Opens a model that was listed: its files have the paths of the list, or those that it tells.
    ///
    /// # Errors
    /// When it cannot be read, or is no longer what was listed ([`SourceError::Changed`]).
    fn open(&self, listed: &ListedModel) -> Result<OpenedModel, SourceError>;

    /// Looks again, after a model was read to its end: whether the source lists it as it did, by version, files
    /// and marks. A source that cannot tell without reading tells what it can.
    ///
    /// # Errors
    /// [`SourceError::Changed`] when it does not; others when it could not be asked.
    fn ensure_unchanged(&self, listed: &ListedModel) -> Result<(), SourceError>;
}

/// A model that can be measured.
#[derive(Debug)]
pub struct OpenedModel {
    /// It.
    pub checkpoint: Checkpoint,
    /// What was found on the way: of what had to be unpacked before it could be opened.
    pub findings: Vec<Finding>,
    /// Its files, where more is known of them than the list tells: of some nobody knows before they are opened
    /// that they are packed in one that was listed, or are no part of the model, and of some what is claimed
    /// of them. In the order of the checkpoint.
    pub files: Option<Vec<ListedFile>>,
    /// The seal that is kept with it; nobody read it yet.
    pub seal: Option<Location>,
}

impl OpenedModel {
    /// A model whose files are those of the list, and of which nothing was found on the way.
    pub fn from_checkpoint(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, findings: Vec::new(), files: None, seal: None }
    }

    /// A model of other files than those of its list: `known` are its files and those that are no part of it.
    #[cfg(any(feature = "mlflow", feature = "oci", feature = "s3"))]
    pub(crate) fn with_files(
        checkpoint: Checkpoint,
        findings: Vec<Finding>,
        known: Vec<ListedFile>,
    ) -> Self {
        let mut by_path: HashMap<String, ListedFile> = HashMap::with_capacity(known.len());
        for file in known {
            // Of two of one path, the first is the one that is opened.
            by_path.entry(file.path.clone()).or_insert(file);
        }
        let own = checkpoint.model_files().iter();
        let files = own.filter_map(|file| by_path.remove(&file.path)).collect();
        Self { checkpoint, findings, files: Some(files), seal: None }
    }

    /// The same model, with the seal that is kept with it.
    pub(crate) fn with_seal(self, seal: Option<Location>) -> Self {
        Self { seal, ..self }
    }
}

/// The seal among files of another machine.
#[cfg(any(feature = "mlflow", feature = "oci", feature = "s3"))]
fn find_seal(files: &[(String, Arc<dyn RemoteFile>)]) -> Option<Location> {
    let (_, file) = files.iter().find(|(path, _)| path == seal::FILE_NAME)?;
    Some(Location::Remote(Arc::clone(file)))
}
