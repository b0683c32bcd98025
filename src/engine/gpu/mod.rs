//! The GPU engine: tiles stream through compute shaders that return integers.
//!
//! [`adapter`] finds devices, [`pipelines`] is the table of kernels, [`tile`] encodes one tile and
//! reads its results (of what only some runs ask for: [`correlation`], [`structure`]
//! and [`blocks`]), [`ring`]
//! keeps several tiles in flight, [`self_test`] holds a device to known answers before it is trusted,
//! [`benchmark`] times it.

pub mod adapter;
pub mod benchmark;
mod blocks;
mod buffers;
mod correlation;
mod device;
pub mod pipelines;
pub mod ring;
mod self_test;
mod structure;
mod tile;

pub use adapter::{AdapterDescription, DeviceSelector, adapters};
pub use device::Gpu;
pub use ring::{Interrupted, TileFeed, TileSpec};

/// Why a device cannot be used, or no longer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GpuError {
    /// There is no adapter at all.
    #[error(
        "no GPU found: install its Vulkan driver, or `mesa-vulkan-drivers` for the software one, or use --device cpu"
    )]
    NoAdapter,
    /// None has this name.
    #[error("no device has {wanted:?} in its name; there are: {available} (`tensorseal devices`)")]
    NotFound {
        /// The name asked for.
        wanted: String,
        /// The names there are.
        available: String,
    },
    /// Its limits are too small for the kernels.
    #[error("{name}: its limit {limit} is {has}, the kernels need {needs}")]
    Limits {
        /// The adapter.
        name: String,
        /// The limit.
        limit: &'static str,
        /// Its value.
        has: u64,
        /// What is needed.
        needs: u64,
    },
    /// It computes something else than the CPU.
    #[error(
        "{name}: its kernel `{kernel}` fails the known-answer test: it would measure wrongly, use --device cpu"
    )]
    SelfTest {
        /// The adapter.
        name: String,
        /// The kernel.
        kernel: &'static str,
    },
    /// It was lost: removed, reset, or destroyed.
    #[error("the device was lost ({0})")]
    Lost(String),
    /// It has no memory left.
    #[error("the device is out of memory")]
    OutOfMemory,
    /// It does not answer.
    #[error("the device did not finish a tile in {0} seconds")]
    Timeout(u64),
    /// Anything else that the graphics interface reports.
    #[error("the device failed: {0}")]
    Failed(String),
}
