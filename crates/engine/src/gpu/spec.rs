//! What is to be measured of a tile.

use crate::measure::KernelSet;

/// What is to be measured of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileSpec {
    /// Position in its object in bytes, a multiple of [`BLOCK_LEN`](crate::measure::BLOCK_LEN).
    pub offset: u64,
    /// Length in bytes, a multiple of [`BLOCK_LEN`](crate::measure::BLOCK_LEN), at most [`TILE_LEN`](crate::measure::TILE_LEN).
    pub len: usize,
    /// Bytes that lie behind it in its object and are read with it, for units that begin in it.
    pub halo: usize,
    /// What is measured besides the digests.
    pub kernels: KernelSet,
}

impl TileSpec {
    /// Bytes that are copied to the device: a multiple of what a copy takes.
    pub fn copied(&self) -> u64 {
        (self.len + self.halo).next_multiple_of(4) as u64
    }
}
