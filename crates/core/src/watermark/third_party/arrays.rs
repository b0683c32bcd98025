//! The arrays of a key: numbers in files that lie beside its descriptor.
//!
//! `NAME.npy`, or `NAME.safetensors#TENSOR`. Here is what an array must be; `shelf`
//! reads it.

use super::{MAX_BITS, MAX_PLACES, MAX_ROWS};
use std::io;
use tensorseal_base::display::display_name;
use tensorseal_base::dtype::{Dtype, NumberFormat};
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_format::Tensor;
use tensorseal_format::numpy::npy::NpyError;
use tensorseal_weights::values::{Decoder, TensorValues};

/// What an array must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ArrayRole {
    /// A matrix of finite numbers of any type.
    Matrix,
    /// A matrix of finite numbers of F32.
    SingleMatrix,
    /// Finite numbers that were drawn from a continuous distribution: F32 or F64.
    Drawn,
    /// 0 or 1, one for each column of a matrix.
    Bits,
    /// -1 or 1.
    Signs,
    /// Integers.
    Codes,
    /// Integers from 0 on.
    Places,
}

impl ArrayRole {
    /// The types that can hold it, in words.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::Matrix | Self::Bits | Self::Signs => "a number",
            Self::Drawn => "F32 or F64",
            Self::SingleMatrix => "F32",
            Self::Codes | Self::Places => "an integer",
        }
    }

    /// Whether elements of this type can hold it.
    pub(super) fn takes(self, dtype: Dtype) -> bool {
        let is_integer =
            matches!(dtype.number_format(), NumberFormat::Signed | NumberFormat::Unsigned);
        match self {
            Self::Matrix | Self::Bits | Self::Signs => true,
            Self::Drawn => matches!(dtype, Dtype::F32 | Dtype::F64),
            Self::SingleMatrix => dtype == Dtype::F32,
            Self::Codes | Self::Places => is_integer && dtype != Dtype::BOOL,
        }
    }

    /// What shape it must have, in words, if this is another one. Looked at before anything is read: what
    /// has no limit here is streamed.
    pub(super) fn misfit(self, shape: &[u64]) -> Option<String> {
        let elements = shape.iter().try_fold(1u64, |all, one| all.checked_mul(*one));
        let at_most = |most: u64| {
            let is_more = elements.is_none_or(|elements| elements > most);
            is_more.then(|| format!("at most {most} elements are read"))
        };
        match self {
            _ if shape.contains(&0) => Some("an array that is not empty is needed".to_owned()),
            Self::Matrix | Self::SingleMatrix => match *shape {
                [1..=MAX_ROWS, 1..=MAX_BITS] => None,
                _ => Some(format!("a matrix of at most {MAX_ROWS} x {MAX_BITS} is needed")),
            },
            Self::Bits => at_most(MAX_BITS),
            Self::Places => at_most(MAX_PLACES),
            Self::Drawn | Self::Signs | Self::Codes => None,
        }
    }

    /// What is wrong with an element.
    pub(super) fn fault(self, value: f64) -> Option<&'static str> {
        match self {
            Self::Matrix | Self::SingleMatrix | Self::Drawn if !value.is_finite() => {
                Some("is not a finite number")
            }
            Self::Bits if value != 0.0 && value != 1.0 => Some("is neither 0 nor 1"),
            Self::Signs if value != 1.0 && value != -1.0 => Some("is neither -1 nor 1"),
            Self::Places if value < 0.0 => Some("is negative"),
            _ => None,
        }
    }
}

/// An array of a key.
#[derive(Debug, Clone)]
pub(super) struct Array {
    /// Its name in the descriptor.
    pub name: String,
    /// Where it is, in the files of the key.
    pub tensor: Tensor,
    /// BLAKE3 of its elements, little-endian, the last dimension fastest.
    pub digest: [u8; 32],
    /// How its elements are read.
    pub decoder: Decoder,
}

impl Array {
    /// Number of its elements.
    pub(super) fn len(&self) -> u64 {
        self.tensor.bytes / self.decoder.width() as u64
    }

    /// Its elements, from the files of the key.
    pub(super) fn values<'a>(&'a self, files: &'a FileSet<'a>) -> TensorValues<'a> {
        TensorValues::new(files, &self.tensor, self.decoder)
    }
}

/// Why an array cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// It could lead anywhere.
    #[error("is no plain file name: the arrays of a key lie beside it, in one directory")]
    Name,
    /// Neither of the two containers.
    #[error("is neither NAME.npy nor NAME.safetensors#TENSOR")]
    Container,
    /// It leads somewhere else.
    #[error("is a link that leads out of the directory of the key")]
    LinkOut,
    /// It cannot be opened.
    #[error("cannot be read: {0}")]
    Open(#[source] io::Error),
    /// The header of an `.npy` file.
    #[error(transparent)]
    Npy(#[from] NpyError),
    /// The header of a safetensors file.
    #[error("is no sound safetensors file: {0}")]
    Safetensors(String),
    /// The file has no such tensor.
    #[error("has no tensor of this name")]
    NoTensor,
    /// A type that cannot hold what it should.
    #[error("has elements of type {dtype}; {wanted} is needed")]
    Dtype {
        /// Its type.
        dtype: Dtype,
        /// In words.
        wanted: &'static str,
    },
    /// Other dimensions, or too large ones.
    #[error("has the shape {}, but {wanted}", shown(shape))]
    Shape {
        /// Its shape.
        shape: Vec<u64>,
        /// In words.
        wanted: String,
    },
    /// An element that it cannot have.
    #[error("is not what its scheme needs: element {at} {fault}")]
    Element {
        /// Its index, the last dimension fastest.
        at: u64,
        /// What is wrong.
        fault: &'static str,
    },
    /// What must be independent is the same.
    #[error(
        "is also that of another part: bits or signs that two parts share are no independent ones"
    )]
    Shared,
    /// Anything else that its scheme forbids.
    #[error("{0}")]
    Unfit(String),
    /// It changed while it was being read.
    #[error("cannot be used: {0}")]
    File(#[from] FileError),
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// A shape in messages.
pub(super) fn shown(shape: &[u64]) -> String {
    let dimensions: Vec<String> = shape.iter().take(8).map(u64::to_string).collect();
    let more = if shape.len() > 8 { ", …" } else { "" };
    format!("[{}{more}]", dimensions.join(", "))
}

/// An error of one array, by the name it has in the descriptor.
#[derive(Debug)]
pub(super) struct NamedArrayError {
    pub array: String,
    pub error: ArrayError,
}

impl ArrayError {
    /// Of this array.
    pub(super) fn with_name(self, name: &str) -> NamedArrayError {
        NamedArrayError { array: display_name(name), error: self }
    }
}
