//! Reading checkpoints: any format becomes a list of files and of tensors, each a byte range.
//!
//! Nothing here reads tensor data. Whatever is wrong with a model is a [`Problem`] beside the parts
//! that could be read, so that a verifier can go on and a producer can refuse.

pub(crate) mod cache;
pub mod content;
mod contents;
pub(crate) mod directory;
mod display;
mod file;
mod formats;
pub mod gguf;
pub(crate) mod json;
mod lfs;
mod links;
pub(crate) mod listing;
mod location;
mod naming;
pub mod numpy;
mod open;
pub mod order;
#[doc(hidden)]
pub mod pickle;
mod problem;
mod remote;
pub mod safetensors;
mod settled;
pub mod shard_index;
mod shard_name;
mod torch;
#[doc(hidden)]
pub mod zip;

pub use cache::Snapshots;
pub use content::{Content, ContentClass, Role};
pub use contents::StoredTensor;
pub use directory::GIT_NAMES;
pub use display::display_name;
pub(crate) use display::{is_hidden, quoted, quoted_list};
pub use file::OpenError;
pub(crate) use file::{Opened, fill, open, read_range, read_whole};
pub use formats::Format;
pub use json::{JsonError, Place};
pub use links::LinkTarget;
pub use location::Location;
pub use open::OpenOptions;
pub(crate) use problem::{Gathered, Named};
pub use problem::{LeftOut, NotCovered, Problem};
pub(crate) use remote::RemoteReader;
pub use remote::{RemoteError, RemoteFile};
pub use safetensors::HeaderError;

use crate::dtype::Dtype;
use gguf::GgufModel;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A model as found on disk, or on another machine.
#[derive(Debug)]
pub struct Checkpoint {
    /// The path as it was given; of a model on another machine, its name.
    pub path: PathBuf,
    /// The directory all file paths are relative to (of a single file: its parent).
    pub root: PathBuf,
    /// Container format of the tensor files; `None` where they have several, or there are none.
    pub format: Option<Format>,
    /// Every file that is part of the model, in byte order of `path`; behind them, when asked for and in
    /// the same order, those [beside](ModelFile::beside) it. [`Checkpoint::own_files`] are the first alone.
    pub files: Vec<ModelFile>,
    /// Every readable tensor, in order of file, then offset, then name.
    pub tensors: Vec<Tensor>,
    /// What is wrong with the model's structure; empty for a well-formed one.
    pub problems: Vec<Problem>,
    /// What is legal but worth knowing.
    pub remarks: Vec<Problem>,
    /// What the metadata of GGUF files say of the model, by index of the file.
    pub gguf: BTreeMap<usize, GgufModel>,
    /// What exists under the path and is not part of the model, and why.
    pub not_covered: Vec<NotCovered>,
    /// What it is compared with at the end of a run: see [`Checkpoint::still_there`].
    start: settled::Start,
    /// Paths that lead into a directory that is covered under another path, in byte order of them.
    pub links: Vec<DirectoryLink>,
}

impl Checkpoint {
    /// Every file that is part of the model: the first of [`Checkpoint::files`], under the same indexes.
    pub fn own_files(&self) -> &[ModelFile] {
        &self.files[..self.files.partition_point(|file| file.beside.is_none())]
    }

    /// The name of its format in reports and seals: `mixed` where its files have several.
    pub fn format_name(&self) -> &'static str {
        match self.format {
            Some(format) => format.name(),
            None if self.files.iter().any(|file| file.format.is_some()) => "mixed",
            None => "none",
        }
    }

    /// Whether it was given as a file and has no other: the parts of a model in several files are opened
    /// together, whichever of them was given.
    pub fn is_one_file(&self) -> bool {
        match self.own_files() {
            [file] => file.location.local().is_ok() && !self.path.is_dir(),
            _ => false,
        }
    }

    /// Keeps some of its files alone, as bytes whatever they hold.
    pub(crate) fn keep_as_bytes(&mut self, is_kept: impl Fn(&ModelFile) -> bool) {
        self.files.retain(is_kept);
        for file in &mut self.files {
            (file.kind, file.format) = (FileKind::Other, None);
            file.checksums.clear();
            file.big_endian.clear();
        }
        self.tensors.clear();
        self.problems.clear();
        self.remarks.clear();
        self.gguf.clear();
        self.format = None;
        self.start = settled::Start::of_files();
    }

    /// The tensors of one file, in order of offset.
    pub fn tensors_of(&self, file: usize) -> &[Tensor] {
        let from = self.tensors.partition_point(|tensor| tensor.file < file);
        let to = self.tensors.partition_point(|tensor| tensor.file <= file);
        &self.tensors[from..to]
    }

    /// Whether one file has weights, or should have some by its name, and not one tensor that can be read.
    pub fn has_unread_weights(&self, file: usize) -> bool {
        let Some(it) = self.files.get(file) else { return false };
        let unread = self.tensors_of(file).is_empty();
        match it.kind {
            // One that was read to its end and has no tensor has no weights.
            FileKind::Tensors => false,
            FileKind::Damaged => unread,
            FileKind::Other => unread && it.content.role == Role::Weights,
        }
    }

    /// The ranges of one file that belong to no tensor, in order: header, gaps, what follows the
    /// last tensor; all of a file without tensors.
    pub fn outside(&self, file: usize) -> Vec<[u64; 2]> {
        let mut ranges = Vec::new();
        let mut cursor = 0;
        for tensor in self.tensors_of(file) {
            if tensor.offset > cursor {
                ranges.push([cursor, tensor.offset]);
            }
            cursor = cursor.max(tensor.offset + tensor.bytes);
        }
        match self.files.get(file) {
            Some(file) if file.bytes > cursor => ranges.push([cursor, file.bytes]),
            _ => {}
        }
        ranges
    }
}

/// A path of a model that leads into a directory which is covered under another path: whatever walks the model
/// and follows links sees its files a second time, under other names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryLink {
    /// Path relative to the root.
    pub path: String,
    /// Path of the directory, relative to the root; `.` for the root itself.
    pub target: String,
}

/// One file of a model.
#[derive(Debug, Clone)]
pub struct ModelFile {
    /// Path relative to the root, components separated by `/`. UTF-8.
    pub path: String,
    /// Where the bytes are (a link is resolved).
    pub location: Location,
    /// Length in bytes.
    pub bytes: u64,
    /// What identified the file when it was opened.
    pub identity: FileIdentity,
    /// What it holds.
    pub kind: FileKind,
    /// What its bytes are, and what part it plays. Of files [beside](ModelFile::beside) the model, too.
    pub content: Content,
    /// The symbolic link that it was reached through: of several, the one that leads farthest.
    pub link: Option<LinkTarget>,
    /// Why it is not part of the model, though a signature of the model's files covers it
    /// ([`OpenOptions::list_beside`]): it is digested when files are, and goes into no seal, root or count.
    pub beside: Option<LeftOut>,
    /// Its container format, of a file of tensors (or what should be one).
    pub format: Option<Format>,
    /// Stretches whose checksum the file states, in order: the members of a zip archive.
    pub checksums: Vec<Checksum>,
    /// Stretches in big-endian byte order, in order: they are read as if they were little-endian.
    pub big_endian: Vec<BigEndian>,
}

/// A stretch of a file and what its bytes should sum up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// What it is called: the name of a member of an archive.
    pub name: String,
    /// The bytes of the file, half-open.
    pub range: [u64; 2],
    /// CRC-32 of them (ISO-HDLC, as in zip).
    pub crc32: u32,
}

/// A stretch of a file that holds numbers in big-endian byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BigEndian {
    /// The bytes of the file, half-open.
    pub range: [u64; 2],
    /// What they hold.
    pub dtype: Dtype,
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

/// What tells whether a file is still the one that was opened. A file on another machine has its length
/// alone: each of its reads is pinned to what was listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Device it is on.
    pub device: u64,
    /// Number of the inode on that device.
    pub inode: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Modification time, seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Change time, seconds and nanoseconds: moves also when the modification time was set back.
    pub changed: (i64, i64),
}

/// One tensor: a byte range of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Name as the loader sees it (qualified where two checkpoints share a directory).
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, as a loader has them.
    pub shape: Vec<u64>,
    /// Elements from one index to the next, by dimension, where the elements do not lie row-major: see
    /// [`order`].
    pub strides: Option<Vec<u64>>,
    /// Index into [`Checkpoint::files`].
    pub file: usize,
    /// Position of its first byte in the file.
    pub offset: u64,
    /// Length of its data in bytes.
    pub bytes: u64,
}

impl Tensor {
    /// Its dimensions in the order of the file, of which its bytes are: see [`order::storage_shape`].
    pub fn storage_shape(&self) -> Cow<'_, [u64]> {
        order::storage_shape(&self.shape, self.strides.as_deref())
    }

    /// How many elements its bytes hold.
    pub fn stored_elements(&self) -> u64 {
        order::stored_elements(&self.shape, self.strides.as_deref()).unwrap_or(u64::MAX)
    }
}
