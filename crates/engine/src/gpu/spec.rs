//! The specification of a tile: where it is and what is measured.

use crate::measure::KernelSet;

/// The specification of a tile: where it is and what is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileSpec {
    /// The position in the object in bytes, a multiple of [`BLOCK_LEN`](crate::measure::BLOCK_LEN).
    pub offset: u64,
    /// The length in bytes, a multiple of [`BLOCK_LEN`](crate::measure::BLOCK_LEN), at most
    /// [`TILE_LEN`](crate::measure::TILE_LEN).
    pub len: usize,
    /// The number of bytes after the tile that are read with it, for units that begin in the tile.
    pub halo: usize,
    /// What is measured in addition to the digests.
    pub kernels: KernelSet,
}

impl TileSpec {
    /// Returns the number of bytes that are copied to the device, a multiple of 4 as copies require.
    pub fn copied(&self) -> u64 {
        (self.len + self.halo).next_multiple_of(4) as u64
    }
}
