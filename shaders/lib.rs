//! The compute shaders of tensorseal as source text: one for each kernel, under the name of the kernel.
//! `crates/engine/src/gpu/pipelines.rs` lists the includes that precede each shader.

/// The source of `codes.wgsl`.
pub const CODES: &str = include_str!("codes.wgsl");
/// The source of `correlation.wgsl`.
pub const CORRELATION: &str = include_str!("correlation.wgsl");
/// The source of `dequantise.wgsl`.
pub const DEQUANTISE: &str = include_str!("dequantise.wgsl");
/// The source of `digest.wgsl`.
pub const DIGEST: &str = include_str!("digest.wgsl");
/// The source of `histogram.wgsl`.
pub const HISTOGRAM: &str = include_str!("histogram.wgsl");
/// The source of `low_bits.wgsl`.
pub const LOW_BITS: &str = include_str!("low_bits.wgsl");
/// The source of `magnitudes.wgsl`.
pub const MAGNITUDES: &str = include_str!("magnitudes.wgsl");
/// The source of `pages.wgsl`.
pub const PAGES: &str = include_str!("pages.wgsl");
/// The source of `summary.wgsl`.
pub const SUMMARY: &str = include_str!("summary.wgsl");
/// The source of `windows.wgsl`.
pub const WINDOWS: &str = include_str!("windows.wgsl");

/// The source that several shaders share.
pub mod include {
    /// The source of `include/blake3.wgsl`.
    pub const BLAKE3: &str = include_str!("include/blake3.wgsl");
    /// The source of `include/blocks.wgsl`.
    pub const BLOCKS: &str = include_str!("include/blocks.wgsl");
    /// The source of `include/chacha20.wgsl`.
    pub const CHACHA20: &str = include_str!("include/chacha20.wgsl");
    /// The source of `include/params.wgsl`.
    pub const PARAMS: &str = include_str!("include/params.wgsl");
    /// The source of `include/structure.wgsl`.
    pub const STRUCTURE: &str = include_str!("include/structure.wgsl");
    /// The source of `include/u64.wgsl`.
    pub const U64: &str = include_str!("include/u64.wgsl");
}
