//! The buffers that the tiles of a device use one after the other.

use super::block_types;
use super::buffers::{Poison, buffer, filled};
use crate::measure::histogram::BINS;
use crate::measure::{TILE_LEN, pages};
use wgpu::{Buffer, BufferUsages, Device};

/// The length in bytes of a BLAKE3 chunk.
pub(super) const CHUNK_LEN: u64 = 1024;

/// The numbers of tables in `shaders/histogram.wgsl` and `shaders/summary.wgsl`.
const COUNT_REPLICAS: u64 = 8 + 2;
const SUM_REPLICAS: u64 = 4;

/// The buffers that all tiles share. Their users run one after the other in the queue.
pub(super) struct Scratch {
    pub chunk_values: Buffer,
    pub count_replicas: Buffer,
    pub sum_replicas: Buffer,
    pub poison: Poison,
    pub page_keys: Buffer,
    pub block_tables: Buffer,
}

impl Scratch {
    pub(super) fn new(device: &Device) -> Self {
        let storage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        // The keys are little-endian: the low word of each comes first.
        let page_keys: Vec<u8> = pages::KEYS.iter().flat_map(|key| key.to_le_bytes()).collect();
        Self {
            chunk_values: buffer(device, TILE_LEN as u64 / CHUNK_LEN * 32, storage),
            count_replicas: buffer(device, COUNT_REPLICAS * BINS as u64 * 4, storage),
            sum_replicas: buffer(device, SUM_REPLICAS * BINS as u64 * 8, storage),
            poison: Poison::new(device),
            page_keys: filled(device, &page_keys, BufferUsages::STORAGE),
            block_tables: block_types::tables(device),
        }
    }
}
