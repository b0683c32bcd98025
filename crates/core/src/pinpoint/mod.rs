//! Pinpointing: the smallest change that explains why a block is not the sealed one.
//!
//! A seal keeps chaining values of BLAKE3 and no redundancy. Whoever guesses the change can prove it:
//! undone, it must give the sealed value. [`explain`] tries all small changes of a block or of a chunk,
//! [`places`] says where seal and model differ, [`search`] reads the bytes of those places and stays
//! within bounds.

mod chunk;
mod compress;
pub mod explain;
pub mod fine;
mod fine_write;
pub mod places;
pub mod search;
mod subtree;
mod vector;

pub use chunk::CHUNK_LEN;
pub use fine_write::{FineWriteError, write as write_fine};
pub use subtree::{Subtree, chunk_values, merge};
