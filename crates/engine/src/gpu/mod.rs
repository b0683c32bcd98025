//! The GPU engine: tiles stream through compute shaders that return integers.
//!
//! [`adapter`] finds devices, [`pipelines`] is the table of kernels, [`tile`] encodes one tile and
//! reads its results (of what only some runs ask for: [`correlation`], [`structure`]
//! and [`blocks`]), [`ring`]
//! keeps several tiles in flight, [`self_test`] holds a device to known answers before it is trusted,
//! [`benchmark`] times it.

pub mod adapter;
pub mod benchmark;
mod block_types;
mod blocks;
mod buffers;
mod correlation;
mod device;
mod error;
pub mod pipelines;
pub mod ring;
mod scratch;
mod self_test;
mod spec;
mod structure;
mod tile;

pub use adapter::{AdapterDescription, DeviceSelector, adapters};
pub use device::Gpu;
pub use error::GpuError;
pub use ring::{Interrupted, TileFeed};
pub use spec::TileSpec;
