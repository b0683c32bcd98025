//! What a file of tensors was found to hold, whatever its format.

use super::class::{ContentClass, FileRole};
use super::problem::Problem;
use super::tensor::{BigEndianRange, ChecksummedRange};
use tensorseal_base::dtype::Dtype;

/// Most tensors of one file.
pub(crate) const MAX_TENSORS: usize = 1_000_000;

/// A tensor that can be read: its bytes are in the file, and as many as its type needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// Name as in the file.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, as a loader has them.
    pub shape: Vec<u64>,
    /// Where its elements do not lie row-major: see [`super::order`].
    pub strides: Option<Vec<u64>>,
    /// Position of its first byte in the file.
    pub offset: u64,
    /// Length of its data in bytes.
    pub bytes: u64,
}

/// What the metadata of a file say of the model it belongs to, in a format that names tensors by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchitectureMetadata {
    /// What the format calls it.
    pub name: String,
    /// Heads of attention, where that is one number.
    pub heads: Option<u32>,
    /// Heads of keys and values, where that is one number.
    pub key_value_heads: Option<u32>,
}

/// Which part of a model a file says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SplitPart {
    /// Its number, from 1 on.
    pub number: u64,
    /// How many parts there are, more than one.
    pub count: u64,
    /// Tensors of all parts together.
    pub tensors: Option<u64>,
}

/// A text of the metadata.
#[derive(Debug, PartialEq, Eq)]
pub struct MetadataText {
    /// Its key.
    pub key: String,
    /// Length of the text.
    pub bytes: u64,
    /// The text; `None`: it is longer than was asked for.
    pub value: Option<Vec<u8>>,
}

/// See the module. Problems and remarks name tensors as the file does.
#[derive(Debug, Default)]
pub(crate) struct ParsedFile {
    /// Tensors that can be read, in order of offset, then name.
    pub tensors: Vec<StoredTensor>,
    /// Names of the tensors that are listed and cannot be read.
    pub unreadable: Vec<String>,
    /// Whether the layout could be read at all.
    pub readable: bool,
    /// Whether there are tensors of types or kinds that are known and not read.
    pub unread: bool,
    /// Of a file that holds nothing a tensor could lie in: what it is instead, and the part that it plays.
    pub weightless: Option<(ContentClass, FileRole)>,
    /// What is wrong with the file.
    pub problems: Vec<Problem>,
    /// What is legal and worth knowing.
    pub remarks: Vec<Problem>,
    /// Stretches whose checksum the file states, in order.
    pub checksums: Vec<ChecksummedRange>,
    /// Stretches in big-endian byte order, in order.
    pub big_endian: Vec<BigEndianRange>,
    /// What its metadata say of the model.
    pub architecture: Option<ArchitectureMetadata>,
    /// Which part of a model in several files its metadata say that it is.
    pub part: Option<SplitPart>,
}

impl ParsedFile {
    /// Of a file whose layout cannot be read.
    pub(crate) fn from_problem(problem: Problem) -> ParsedFile {
        ParsedFile { problems: vec![problem], ..ParsedFile::default() }
    }

    /// Names of all listed tensors, readable or not.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|t| t.name.as_str()).chain(self.unreadable.iter().map(|n| &**n))
    }
}
