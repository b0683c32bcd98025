//! The arrays of a key: numbers in files next to its descriptor, `NAME.npy` or `NAME.safetensors#TENSOR`.
//!
//! This module defines what an array must be; `key_directory` reads arrays.

use super::{MAX_BITS, MAX_POSITIONS, MAX_ROWS};
use std::io;
use tensorseal_base::display::display_name;
use tensorseal_base::dtype::{Dtype, NumberFormat};
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_format::Tensor;
use tensorseal_format::numpy::npy::NpyError;
use tensorseal_weights::values::{Decoder, TensorValues};

/// The role of an array, which determines what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ArrayRole {
    /// A matrix of finite numbers of any type.
    Matrix,
    /// A matrix of finite F32 numbers.
    SingleMatrix,
    /// Finite numbers, F32 or F64, that were drawn from a continuous distribution.
    Drawn,
    /// Numbers that are 0 or 1, one for each column of a matrix.
    Bits,
    /// Numbers that are -1 or 1.
    Signs,
    /// Integers.
    Codes,
    /// Non-negative integers.
    Positions,
}

impl ArrayRole {
    /// Returns the types that it can have, in words.
    pub(super) fn expected_dtype(self) -> &'static str {
        match self {
            Self::Matrix | Self::Bits | Self::Signs => "a number",
            Self::Drawn => "F32 or F64",
            Self::SingleMatrix => "F32",
            Self::Codes | Self::Positions => "an integer",
        }
    }

    /// Returns whether it can have elements of this type.
    pub(super) fn accepts(self, dtype: Dtype) -> bool {
        let is_integer =
            matches!(dtype.number_format(), NumberFormat::Signed | NumberFormat::Unsigned);
        match self {
            Self::Matrix | Self::Bits | Self::Signs => true,
            Self::Drawn => matches!(dtype, Dtype::F32 | Dtype::F64),
            Self::SingleMatrix => dtype == Dtype::F32,
            Self::Codes | Self::Positions => is_integer && dtype != Dtype::BOOL,
        }
    }

    /// Returns the shape that it must have, in words, if this shape is invalid. Shapes are checked before anything is
    /// read; arrays without a limit are streamed.
    pub(super) fn shape_error(self, shape: &[u64]) -> Option<String> {
        let elements = shape.iter().try_fold(1u64, |all, one| all.checked_mul(*one));
        let at_most = |limit: u64| {
            let is_more = elements.is_none_or(|elements| elements > limit);
            is_more.then(|| format!("at most {limit} elements are supported"))
        };
        match self {
            _ if shape.contains(&0) => Some("a non-empty array is needed".to_owned()),
            Self::Matrix | Self::SingleMatrix => match *shape {
                [1..=MAX_ROWS, 1..=MAX_BITS] => None,
                _ => Some(format!("a matrix of at most {MAX_ROWS} x {MAX_BITS} is needed")),
            },
            Self::Bits => at_most(MAX_BITS),
            Self::Positions => at_most(MAX_POSITIONS),
            Self::Drawn | Self::Signs | Self::Codes => None,
        }
    }

    /// Returns what is wrong with an element, if it is invalid.
    pub(super) fn element_error(self, value: f64) -> Option<&'static str> {
        match self {
            Self::Matrix | Self::SingleMatrix | Self::Drawn if !value.is_finite() => {
                Some("is not a finite number")
            }
            Self::Bits if value != 0.0 && value != 1.0 => Some("is neither 0 nor 1"),
            Self::Signs if value != 1.0 && value != -1.0 => Some("is neither -1 nor 1"),
            Self::Positions if value < 0.0 => Some("is negative"),
            _ => None,
        }
    }
}

/// An array of a key.
#[derive(Debug, Clone)]
pub(super) struct Array {
    /// The name in the descriptor.
    pub name: String,
    /// The place in the files of the key.
    pub tensor: Tensor,
    /// The BLAKE3 digest of the elements: little-endian, with the last dimension fastest.
    pub digest: [u8; 32],
    /// The decoder of the elements.
    pub decoder: Decoder,
}

impl Array {
    /// Returns the number of elements.
    pub(super) fn len(&self) -> u64 {
        self.tensor.bytes / self.decoder.width() as u64
    }

    /// Returns the elements from the files of the key.
    pub(super) fn values<'a>(&'a self, files: &'a FileSet<'a>) -> TensorValues<'a> {
        TensorValues::new(files, &self.tensor, self.decoder)
    }
}

/// An error in an array of a key. The messages continue "the array NAME".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// The name is not a plain file name.
    #[error("is not a plain file name: the arrays of a key must be in its directory")]
    Name,
    /// The name has the form of neither container.
    #[error("is neither NAME.npy nor NAME.safetensors#TENSOR")]
    Container,
    /// The file is a link that leads out of the directory.
    #[error("is a link that leads out of the directory of the key")]
    LinkOut,
    /// The file cannot be opened.
    #[error("cannot be read: {0}")]
    Open(#[source] io::Error),
    /// The header of the `.npy` file is invalid.
    #[error(transparent)]
    Npy(#[from] NpyError),
    /// The safetensors file is invalid.
    #[error("is not a valid safetensors file: {0}")]
    Safetensors(String),
    /// The safetensors file has no such tensor.
    #[error("does not exist: the file has no tensor of this name")]
    NoTensor,
    /// The element type is unsuitable.
    #[error("has elements of type {dtype}; {expected} is needed")]
    Dtype {
        /// The element type.
        dtype: Dtype,
        /// The suitable types, in words.
        expected: &'static str,
    },
    /// The shape is invalid.
    #[error("has the shape {}, but {expected}", shown(shape))]
    Shape {
        /// The shape.
        shape: Vec<u64>,
        /// The requirement, in words.
        expected: String,
    },
    /// An element is invalid.
    #[error("is invalid: element {at} {fault}")]
    Element {
        /// The index of the element, with the last dimension fastest.
        at: u64,
        /// What is wrong with the element.
        fault: &'static str,
    },
    /// Two parts share values that must be independent.
    #[error("is also used by another part: bits or signs that two parts share are not independent")]
    Shared,
    /// The array violates another requirement of its scheme.
    #[error("{0}")]
    Unfit(String),
    /// The file cannot be read, or changed while it was being read.
    #[error("cannot be used: {0}")]
    File(#[from] FileError),
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// Formats a shape for messages.
pub(super) fn shown(shape: &[u64]) -> String {
    let dimensions: Vec<String> = shape.iter().take(8).map(u64::to_string).collect();
    let more = if shape.len() > 8 { ", …" } else { "" };
    format!("[{}{more}]", dimensions.join(", "))
}

/// An error with the name of the array in the descriptor.
#[derive(Debug)]
pub(super) struct NamedArrayError {
    pub array: String,
    pub error: ArrayError,
}

impl ArrayError {
    /// Adds the name of the array.
    pub(super) fn with_name(self, name: &str) -> NamedArrayError {
        NamedArrayError { array: display_name(name), error: self }
    }
}
