//! The compute shaders of tensorseal, as text: one for each measurement, under its name. Which of the shared
//! parts stand before a shader is said where pipelines are made: in `crates/engine/src/gpu/pipelines.rs`.

/// `codes.wgsl`
pub const CODES: &str = include_str!("codes.wgsl");
/// `correlation.wgsl`
pub const CORRELATION: &str = include_str!("correlation.wgsl");
/// `dequantise.wgsl`
pub const DEQUANTISE: &str = include_str!("dequantise.wgsl");
/// `digest.wgsl`
pub const DIGEST: &str = include_str!("digest.wgsl");
/// `histogram.wgsl`
pub const HISTOGRAM: &str = include_str!("histogram.wgsl");
/// `low_bits.wgsl`
pub const LOW_BITS: &str = include_str!("low_bits.wgsl");
/// `magnitudes.wgsl`
pub const MAGNITUDES: &str = include_str!("magnitudes.wgsl");
/// `pages.wgsl`
pub const PAGES: &str = include_str!("pages.wgsl");
/// `summary.wgsl`
pub const SUMMARY: &str = include_str!("summary.wgsl");
/// `windows.wgsl`
pub const WINDOWS: &str = include_str!("windows.wgsl");

/// What several shaders share.
pub mod include {
    /// `include/blake3.wgsl`
    pub const BLAKE3: &str = include_str!("include/blake3.wgsl");
    /// `include/blocks.wgsl`
    pub const BLOCKS: &str = include_str!("include/blocks.wgsl");
    /// `include/chacha20.wgsl`
    pub const CHACHA20: &str = include_str!("include/chacha20.wgsl");
    /// `include/params.wgsl`
    pub const PARAMS: &str = include_str!("include/params.wgsl");
    /// `include/structure.wgsl`
    pub const STRUCTURE: &str = include_str!("include/structure.wgsl");
    /// `include/u64.wgsl`
    pub const U64: &str = include_str!("include/u64.wgsl");
}
