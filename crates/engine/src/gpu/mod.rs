//! The GPU engine: streams tiles through compute shaders that return integers.
//!
//! `adapter` finds devices, `pipelines` is the table of kernels, and `tile` encodes one tile and reads its
//! results (with `correlation`, `structure` and `blocks` for measurements that only some runs request).
//! `ring` keeps several tiles in flight, `self_test` compares a device with known answers before it is
//! used, and `benchmark` times it. Without the feature `gpu`, `absent.rs` takes the place of all this.

mod description;
mod error;
mod feed;
mod spec;
mod throughput;

#[cfg(not(feature = "gpu"))]
mod absent;
#[cfg(feature = "gpu")]
mod adapter;
#[cfg(feature = "gpu")]
mod benchmark;
#[cfg(feature = "gpu")]
mod block_types;
#[cfg(feature = "gpu")]
mod blocks;
#[cfg(feature = "gpu")]
mod buffers;
#[cfg(feature = "gpu")]
mod correlation;
#[cfg(feature = "gpu")]
mod device;
#[cfg(feature = "gpu")]
pub mod pipelines;
#[cfg(feature = "gpu")]
pub mod ring;
#[cfg(feature = "gpu")]
mod scratch;
#[cfg(feature = "gpu")]
mod self_test;
#[cfg(feature = "gpu")]
mod structure;
#[cfg(feature = "gpu")]
mod tile;

#[cfg(not(feature = "gpu"))]
pub use absent::{Gpu, adapters};
#[cfg(feature = "gpu")]
pub use adapter::adapters;
pub use description::{AdapterDescription, DeviceSelector};
#[cfg(feature = "gpu")]
pub use device::Gpu;
pub use error::GpuError;
pub use feed::{DeviceFailure, TileFeed};
pub use spec::TileSpec;
pub use throughput::Throughput;
