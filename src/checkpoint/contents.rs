//! What a file of tensors was found to hold, whatever its format.

use super::gguf::GgufModel;
use super::gguf::split::Part;
use super::problem::Problem;
use super::{BigEndian, Checksum};
use crate::dtype::Dtype;

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

/// See the module. Problems and remarks name tensors as the file does.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Tensors that can be read, in order of offset, then name.
    pub tensors: Vec<StoredTensor>,
    /// Names of the tensors that are listed and cannot be read.
    pub unreadable: Vec<String>,
    /// Whether the layout could be read at all.
    pub readable: bool,
    /// Whether it holds nothing that a tensor could lie in: a pickle of plain data or of objects.
    pub weightless: bool,
    /// Whether arrays of NumPy are in its pickle, and more than the state of a generator takes: weights that are
    /// not read.
    pub arrays: bool,
    /// What is wrong with the file.
    pub problems: Vec<Problem>,
    /// What is legal and worth knowing.
    pub remarks: Vec<Problem>,
    /// Stretches whose checksum the file states, in order.
    pub checksums: Vec<Checksum>,
    /// Stretches in big-endian byte order, in order.
    pub big_endian: Vec<BigEndian>,
    /// Of a GGUF file: what its metadata say of the model.
    pub gguf: Option<GgufModel>,
    /// Of a GGUF file that is a part of a model: which.
    pub gguf_part: Option<Part>,
}

impl Contents {
    /// Of a file whose layout cannot be read.
    pub fn refused(problem: Problem) -> Contents {
        Contents { problems: vec![problem], ..Contents::default() }
    }

    /// Names of all listed tensors, readable or not.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|t| t.name.as_str()).chain(self.unreadable.iter().map(|n| &**n))
    }
}
