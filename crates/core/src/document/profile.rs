//! What is drawn of tensors: their place in the map, their exponents, their low bits.

use serde::Serialize;

/// What is drawn of one tensor.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Profile {
    /// Its name.
    pub tensor: String,
    /// Path of its file, relative to the model.
    pub file: String,
    /// Element type.
    pub dtype: String,
    /// Dimensions, row-major.
    pub shape: Vec<u64>,
    /// Position of its first byte in the file.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Column of the map: what the tensor does (`attention.query`, `mlp.up`, `norm`, `embedding`, ...).
    /// Empty: it is not in the map.
    pub role: String,
    /// Row of the map: number of the layer; None: outside the layers.
    pub depth: Option<u64>,
    /// Only of tensors with findings: (base-2 exponent, count) ascending, finite non-zero values.
    pub exponents: Vec<(i32, u64)>,
    /// The same in the baseline; empty: there is none.
    pub exponents_before: Vec<(i32, u64)>,
    /// Only of tensors with findings: low-bit streams.
    pub low_bits: Vec<LowBitCounts>,
}

/// Counts of the bytes of the stream of the lowest `bits` bits of each element.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LowBitCounts {
    /// Lowest bits taken of each element.
    pub bits: u32,
    /// How often each byte occurs in the stream: 256 counts.
    pub bytes: Vec<u64>,
}
