//! Streams the bytes of the files of a model, cut into tiles that are read once.
//!
//! [`source`] reads bytes, and `sigbus` keeps a truncated file from killing the process. [`plan`] lists
//! what is measured, [`queue`] hands out tiles, and [`files`] opens and closes files.
//! [`sequential_hasher`] feeds the digests that do not merge ([`hashing`] computes them), [`checksums`]
//! verifies stated checksums, [`big_endian`] swaps byte orders, [`progress`] counts, [`rate_limiter`]
//! limits the speed, and [`copy`] writes a copy of a model. [`regular_file`] reads small files that are
//! not part of the model: keys, policies, signatures.

pub mod big_endian;
pub mod checksums;
pub mod copy;
pub mod files;
#[cfg(all(test, loom))]
mod interleavings;
mod occupied_ranges;
pub mod plan;
pub mod progress;
pub mod queue;
pub mod rate_limiter;
pub mod sequential_hasher;
#[cfg(unix)]
mod sigbus;
pub mod source;

pub use tensorseal_base::{hashing, regular_file};
mod sync;
#[cfg(not(unix))]
mod unguarded;
