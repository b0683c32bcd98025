//! The result of parsing a tensor file, whatever its format.

use super::class::{ContentClass, FileRole};
use super::problem::Problem;
use super::tensor::{BigEndianRange, ChecksummedRange};
use tensorseal_base::dtype::Dtype;

/// The largest number of tensors in one file.
pub(crate) const MAX_TENSORS: usize = 1_000_000;

/// A tensor that can be read: its bytes are in the file, and their number matches the type and the shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// The name in the file.
    pub name: String,
    /// The element type.
    pub dtype: Dtype,
    /// The dimensions as a loader has them, outermost first.
    pub shape: Vec<u64>,
    /// The number of elements between consecutive indexes of each dimension, if the elements are not in row-major
    /// order: see [`super::strides`].
    pub strides: Option<Vec<u64>>,
    /// The position of the first byte in the file.
    pub offset: u64,
    /// The length of the data in bytes.
    pub bytes: u64,
}

/// The architecture that the metadata of a file name, for formats whose tensor names depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchitectureMetadata {
    /// The name of the architecture in the format.
    pub name: String,
    /// The number of attention heads, if it is the same for all layers.
    pub heads: Option<u32>,
    /// The number of key-value heads, if it is the same for all layers.
    pub key_value_heads: Option<u32>,
}

/// The part of a split model that a file is by its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SplitPart {
    /// The number of the part, counted from 1.
    pub number: u64,
    /// The number of parts, at least two.
    pub count: u64,
    /// The number of tensors in all parts together.
    pub tensors: Option<u64>,
}

/// A text in the metadata of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct MetadataText {
    /// The metadata key.
    pub key: String,
    /// The length of the text in bytes.
    pub bytes: u64,
    /// The text, or `None` if it is longer than the requested limit.
    pub value: Option<Vec<u8>>,
}

/// The result of parsing a tensor file. Problems and remarks use the tensor names of the file.
#[derive(Debug, Default)]
pub(crate) struct ParsedFile {
    /// The tensors that can be read, ordered by offset and name.
    pub tensors: Vec<StoredTensor>,
    /// The names of the listed tensors that cannot be read.
    pub unreadable: Vec<String>,
    /// Whether the layout could be parsed.
    pub readable: bool,
    /// Whether there are tensors of unsupported types or kinds.
    pub has_unread: bool,
    /// For a file that cannot hold tensors: its content class and its role instead.
    pub weightless: Option<(ContentClass, FileRole)>,
    /// The problems of the file.
    pub problems: Vec<Problem>,
    /// Remarks about the file: legal, but worth knowing.
    pub remarks: Vec<Problem>,
    /// The ranges with a stated checksum, in order.
    pub checksums: Vec<ChecksummedRange>,
    /// The ranges with big-endian numbers, in order.
    pub big_endian: Vec<BigEndianRange>,
    /// The architecture in the metadata.
    pub architecture: Option<ArchitectureMetadata>,
    /// The part of a split model that the file is by its metadata.
    pub part: Option<SplitPart>,
}

impl ParsedFile {
    /// The result for a file whose layout cannot be parsed.
    pub(crate) fn from_problem(problem: Problem) -> ParsedFile {
        ParsedFile { problems: vec![problem], ..ParsedFile::default() }
    }

    /// The names of all listed tensors, readable or not.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|t| t.name.as_str()).chain(self.unreadable.iter().map(|n| &**n))
    }
}
