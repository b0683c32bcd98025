//! What a loader of the model would execute, or could be made to: stated, never run.

use crate::checkpoint::{Checkpoint, OpenError, Problem};

/// What of a model is code, and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Code {
    /// Files that are code, or that make a loader call something, in order of their paths, each once.
    pub files: Vec<CodeFile>,
    /// Code that the model has from elsewhere: nothing that is measured here covers it.
    pub remote: Vec<RemoteCode>,
    /// Problems and remarks of the area `content`.
    pub findings: Vec<Problem>,
}

/// A file that is code, or that makes a loader call something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeFile {
    /// Path relative to the root.
    pub path: String,
    /// What a loader does with it, in a few words.
    pub what: String,
}

/// Code that is fetched when the model is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCode {
    /// Path of the file that names it.
    pub path: String,
    /// What it names.
    pub what: String,
}

/// Looks at every file of a model for what a loader would execute.
///
/// # Errors
/// When a file cannot be read, or changed since the model was opened.
pub fn examine(_model: &Checkpoint) -> Result<Code, OpenError> {
    Ok(Code::default())
}
