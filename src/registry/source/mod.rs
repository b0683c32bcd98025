//! Places that hold models, behind one trait.

pub mod bucket;
pub mod directory;
mod error;
pub mod huggingface;
mod listed;
mod local;
pub mod models;
mod place;
pub mod remote;

pub use error::SourceError;
pub use listed::{Claim, Listed, ListedFile, Mark};
pub use place::open;

use crate::checkpoint::Checkpoint;
use crate::judge::Finding;
use std::ops::ControlFlow;

/// A place that holds models.
pub trait Source: Send + Sync {
    /// What it is called in states and reports: an absolute path or a URI, without credentials.
    fn name(&self) -> &str;

    /// Gives each model to `each`, until that breaks. Nothing but names, lengths and marks is read.
    ///
    /// A model that cannot be listed is given with the reason in [`Listed::unreadable`]; the others are
    /// given all the same.
    ///
    /// # Errors
    /// When the source as a whole cannot be listed, or not to its end.
    fn list(&self, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), SourceError>;

    /// Opens a model that was listed: its files have the paths of the list.
    ///
    /// # Errors
    /// When it cannot be read, or is no longer what was listed ([`SourceError::Changed`]).
    fn open(&self, listed: &Listed) -> Result<OpenedModel, SourceError>;
}

/// A model that can be measured.
#[derive(Debug)]
pub struct OpenedModel {
    /// It.
    pub checkpoint: Checkpoint,
    /// What was found on the way: of what had to be unpacked before it could be opened.
    pub findings: Vec<Finding>,
}
