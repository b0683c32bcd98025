//! Data for plots of tensors: their place in the map, their exponents and their low bits.

use serde::Serialize;

/// Data for the plots of one tensor.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Profile {
    /// The name of the tensor.
    pub tensor: String,
    /// The path of the tensor's file, relative to the model.
    pub file: String,
    /// The element type.
    pub dtype: String,
    /// The dimensions, row-major.
    pub shape: Vec<u64>,
    /// The position of the first byte in the file.
    pub offset: u64,
    /// The length in bytes.
    pub bytes: u64,
    /// The column of the map, which is the role of the tensor, such as `attention.query`, `mlp.up`, `norm` or `embedding`.
    /// It is empty for a tensor that is not in the map.
    pub role: String,
    /// The row of the map, which is the number of the layer; `None` for a tensor outside the layers.
    pub depth: Option<u64>,
    /// The base-2 exponents of the finite non-zero values with their counts, ascending; only for tensors with findings.
    pub exponents: Vec<(i32, u64)>,
    /// The same counts in the baseline; empty if there is no baseline.
    pub exponents_before: Vec<(i32, u64)>,
    /// The byte counts of low-bit streams; only for tensors with findings.
    pub low_bits: Vec<LowBitCounts>,
}

/// The counts of bytes in one low-bit stream.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LowBitCounts {
    /// The number of lowest bits taken from each element.
    pub bits: u32,
    /// The count of each byte in the stream: 256 counts.
    pub bytes: Vec<u64>,
}
