//! Streaming: the bytes of a model's files, cut into tiles, each read once.
//!
//! [`source`] reads bytes, `sigbus` keeps a shrinking file from killing the process, [`plan`] says
//! what is to be measured, [`queue`] hands out tiles, [`files`] opens and closes, [`lane`] feeds the
//! digests that do not merge ([`hashing`] computes them), [`sums`] checks stated checksums,
//! [`big_endian`] turns numbers around, [`progress`] counts, [`copy`] writes a model anew. [`small`]
//! reads the files beside it: keys, policies, signatures.

pub mod big_endian;
mod claims;
pub mod copy;
pub mod files;
#[cfg(all(test, loom))]
mod interleavings;
pub mod lane;
pub mod pace;
pub mod plan;
pub mod progress;
pub mod queue;
#[cfg(unix)]
mod sigbus;
pub mod source;
pub mod sums;

pub use tensorseal_base::{hashing, small};
mod sync;
#[cfg(not(unix))]
mod unguarded;
