//! Streaming: the bytes of a model's files, cut into tiles, each read once.
//!
//! [`source`] reads bytes, `sigbus` keeps a shrinking file from killing the process, [`plan`] says
//! what is to be measured, [`queue`] hands out tiles, [`files`] opens and closes, [`sequential_hasher`] feeds the
//! digests that do not merge ([`hashing`] computes them), [`checksums`] checks stated checksums,
//! [`big_endian`] turns numbers around, [`progress`] counts, [`copy`] writes a model anew. [`regular_file`]
//! reads the files beside it: keys, policies, signatures.

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
