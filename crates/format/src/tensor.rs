//! Tensors as byte ranges of files, and what else is known of stretches of a file.

use super::strides;
use std::borrow::Cow;
use tensorseal_base::dtype::Dtype;

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
    /// [`strides`].
    pub strides: Option<Vec<u64>>,
    /// Index into [`Checkpoint::files`](super::Checkpoint::files).
    pub file: usize,
    /// Position of its first byte in the file.
    pub offset: u64,
    /// Length of its data in bytes.
    pub bytes: u64,
}

impl Tensor {
    /// Its dimensions in the order of the file, of which its bytes are: see [`strides::storage_shape`].
    pub fn storage_shape(&self) -> Cow<'_, [u64]> {
        strides::storage_shape(&self.shape, self.strides.as_deref())
    }

    /// How many elements its bytes hold.
    pub fn stored_element_count(&self) -> u64 {
        strides::stored_element_count(&self.shape, self.strides.as_deref()).unwrap_or(u64::MAX)
    }
}

/// A stretch of a file and what its bytes should sum up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChecksummedRange {
    /// What it is called: the name of a member of an archive.
    pub name: String,
    /// The bytes of the file, half-open.
    pub range: [u64; 2],
    /// CRC-32 of them (ISO-HDLC, as in zip).
    pub crc32: u32,
}

/// A stretch of a file that holds numbers in big-endian byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BigEndianRange {
    /// The bytes of the file, half-open.
    pub range: [u64; 2],
    /// What they hold.
    pub dtype: Dtype,
}
