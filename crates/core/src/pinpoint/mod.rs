//! Pinpointing: the search for the smallest change that explains why a block differs from its seal.
//!
//! A seal has BLAKE3 chaining values and no redundancy, but a guessed change can be proved: undoing it must give the
//! sealed value. [`explain`] tries all small changes of a block or a chunk, [`differing_ranges`] lists where seal and
//! model differ, and [`search`] reads these ranges and searches them within limits.

mod chunk;
pub mod chunk_digests;
mod chunk_digests_write;
mod compress;
pub mod differing_ranges;
pub mod explain;
pub mod search;
mod subtree;
mod vector;

pub use chunk::CHUNK_LEN;
pub use chunk_digests_write::{ChunkDigestWriteError, write_chunk_digests};
pub use subtree::{Subtree, chunk_values, merge};
