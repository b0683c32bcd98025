//! Reading checkpoints: any format becomes a list of files and of tensors, each a byte range.
//!
//! Nothing here reads tensor data. Whatever is wrong with a model is a [`Problem`] beside the parts
//! that could be read, so that a verifier can go on and a producer can refuse.

use crate::dtype::Dtype;
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

/// What tells whether a file is still the one that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIdentity {
    pub device: u64,
    pub inode: u64,
    pub bytes: u64,
    /// Modification and change time, seconds and nanoseconds.
    pub modified: (i64, i64),
    pub changed: (i64, i64),
}

/// One tensor: a byte range of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Name as the loader sees it (qualified where two checkpoints share a directory).
    pub name: String,
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
