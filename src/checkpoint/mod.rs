//! Reading checkpoints: any format becomes a list of files and of tensors, each a byte range.
//!
//! Nothing here reads tensor data. Whatever is wrong with a model is a [`Problem`] beside the parts
//! that could be read, so that a verifier can go on and a producer can refuse.

mod directory;
mod identity;
mod json;
mod open;
pub mod problem;
pub mod safetensors;
pub mod shard_index;

pub use identity::FileIdentity;
pub use open::{OpenError, OpenOptions};
pub use problem::Problem;

use crate::dtype::Dtype;
use serde::Serialize;
use std::path::PathBuf;

/// A model as found on disk.
#[derive(Debug)]
pub struct Checkpoint {
    /// The path as it was given.
    pub path: PathBuf,
    /// The directory all file paths are relative to (of a single file: its parent).
    pub root: PathBuf,
    /// Container format of the tensor files.
    pub format: Format,
    /// Every file that is part of the model, in byte order of `path`.
    pub files: Vec<ModelFile>,
    /// Every readable tensor, in order of file, then offset, then name.
    pub tensors: Vec<Tensor>,
    /// What is wrong with the model's structure; empty for a well-formed one.
    pub problems: Vec<Problem>,
    /// What is legal but worth knowing.
    pub remarks: Vec<Problem>,
    /// What exists under the path and is not part of the model, and why.
    pub not_covered: Vec<NotCovered>,
}

/// Container format of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One or more safetensors files.
    Safetensors,
}

impl Format {
    /// Its name in reports and seals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
        }
    }
}

/// Something under the path of a model that is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotCovered {
    /// Path relative to the model.
    pub path: String,
    /// Why it is left out.
    pub reason: String,
}

/// One file of a model.
#[derive(Debug, Clone)]
pub struct ModelFile {
    /// Path relative to the root, components separated by `/`. UTF-8.
    pub path: String,
    /// Where the bytes are (a link is resolved).
    pub location: PathBuf,
    /// Length in bytes.
    pub bytes: u64,
    /// What identified the file when it was opened.
    pub identity: FileIdentity,
    /// What it holds.
    pub kind: FileKind,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Tensors; everything outside their ranges (header, gaps) is covered separately.
    Tensors,
    /// Tensors by its name, but its layout could not be read: see [`Checkpoint::problems`].
    Damaged,
    /// Anything else: covered whole.
    Other,
}

/// One tensor: a byte range of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Name as the loader sees it (qualified where two checkpoints share a directory).
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, row-major, as in the file.
    pub shape: Vec<u64>,
    /// Index into [`Checkpoint::files`].
    pub file: usize,
    /// Position of its first byte in the file.
    pub offset: u64,
    /// Length of its data in bytes.
    pub bytes: u64,
}
