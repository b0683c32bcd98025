//! Tensors and other byte ranges of files.

use super::strides;
use std::borrow::Cow;
use tensorseal_base::dtype::Dtype;

/// One tensor: a byte range of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// The name that a loader sees, qualified with the path if two checkpoints share a directory.
    pub name: String,
    /// The element type.
    pub dtype: Dtype,
    /// The dimensions as a loader has them, outermost first.
    pub shape: Vec<u64>,
    /// The number of elements between consecutive indexes of each dimension, if the elements are not in row-major
    /// order: see [`strides`].
    pub strides: Option<Vec<u64>>,
    /// The index of the file in [`Checkpoint::files`](super::Checkpoint::files).
    pub file: usize,
    /// The position of the first byte in the file.
    pub offset: u64,
    /// The length of the data in bytes.
    pub bytes: u64,
}

impl Tensor {
    /// The dimensions in the order in which the elements are stored: see [`strides::storage_shape`].
    pub fn storage_shape(&self) -> Cow<'_, [u64]> {
        strides::storage_shape(&self.shape, self.strides.as_deref())
    }

    /// The number of elements that the bytes of the tensor hold.
    pub fn stored_element_count(&self) -> u64 {
        strides::stored_element_count(&self.shape, self.strides.as_deref()).unwrap_or(u64::MAX)
    }
}

/// A range of a file with a stated checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChecksummedRange {
    /// The name of the archive member.
    pub name: String,
    /// The bytes of the file, half-open.
    pub range: [u64; 2],
    /// The stated CRC-32 of these bytes (ISO-HDLC, as in zip).
    pub crc32: u32,
}

/// A range of a file that holds big-endian numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BigEndianRange {
    /// The bytes of the file, half-open.
    pub range: [u64; 2],
    /// The element type.
    pub dtype: Dtype,
}
