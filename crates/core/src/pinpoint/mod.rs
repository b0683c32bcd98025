//! Pinpointing: the smallest change that explains why a block is not the sealed one.
//!
//! A seal keeps chaining values of BLAKE3 and no redundancy. Whoever guesses the change can prove it:
//! undone, it must give the sealed value. [`explain`] tries all small changes of a block or of a chunk,
//! [`differing_ranges`] says where seal and model differ, [`search`] reads the bytes of those places and stays
//! within bounds.

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
pub use chunk_digests_write::{ChunkDigestWriteError, write_chunk_digests as write_fine};
pub use subtree::{Subtree, chunk_values, merge};
