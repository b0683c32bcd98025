//! The kernel `correlation`: the keys of a run, and the buffers of each tile in flight.

use super::buffers::{READ_BACK, RETURNED, buffer, mapped, words_at};
use super::device::Gpu;
use super::error::GpuError;
use super::pipelines::{CORRELATION, Params};
use super::spec::TileSpec;
use crate::measure::TILE_LEN;
use crate::measure::chips::{self, ChipKey};
use crate::measure::correlation::{CARRIER_LEN, Carrier, Correlation, Energy};
use wgpu::{BindGroup, Buffer, BufferUsages, CommandEncoder, ComputePass};

/// The number of carrier blocks of a workgroup of `shaders/correlation.wgsl`, and the maximum of a tile.
pub(super) const BLOCKS_A_GROUP: usize = 16;
const MOST_CARRIER_BLOCKS: u64 = (TILE_LEN / CARRIER_LEN) as u64;
/// The number of bytes that the kernel returns for a carrier block, and for each key of it.
pub(super) const ENERGY_LEN: u64 = 8;
pub(super) const SUM_LEN: u64 = 4;

/// The keys of a run on the device.
#[derive(Clone)]
pub(super) struct DeviceKeys {
    pub count: usize,
    pub words: Buffer,
}

impl Gpu {
    /// Copies the keys of a run to the device.
    pub(super) fn upload_keys(&self, keys: &[ChipKey]) -> DeviceKeys {
        // Bindings must not be empty.
        let size = 32 * keys.len().max(1) as u64;
        let words = buffer(&self.device, size, BufferUsages::STORAGE | BufferUsages::COPY_DST);
        for (key, at) in keys.iter().zip((0..).step_by(32)) {
            self.queue.write_buffer(&words, at, bytemuck::cast_slice(&key.words()));
        }
        DeviceKeys { count: keys.len(), words }
    }
}

/// The buffers for the correlations of a tile, created only for runs with keys.
pub(super) struct CorrelationBuffers {
    keys: usize,
    /// The energies of all blocks, and the sums of all blocks for each key.
    energies: Buffer,
    sums: Buffer,
    /// The energies, then the sums, of the blocks of the tile.
    pub readback: Buffer,
    bind: BindGroup,
}

impl CorrelationBuffers {
    /// Creates the buffers for tiles in `tile` with their parameters in `params`; `None` if there are no keys.
    pub(super) fn new(
        gpu: &Gpu,
        keys: &DeviceKeys,
        tile: &Buffer,
        params: &Buffer,
    ) -> Option<Self> {
        if keys.count == 0 {
            return None;
        }
        let device = &gpu.device;
        let sums_len = keys.count as u64 * SUM_LEN;
        let energies = buffer(device, MOST_CARRIER_BLOCKS * ENERGY_LEN, RETURNED);
        let sums = buffer(device, MOST_CARRIER_BLOCKS * sums_len, RETURNED);
        let readback = buffer(device, MOST_CARRIER_BLOCKS * (ENERGY_LEN + sums_len), READ_BACK);
        let bind = gpu.kernels[CORRELATION].bind(
            device,
            &[
                tile.as_entire_binding(),
                keys.words.as_entire_binding(),
                energies.as_entire_binding(),
                sums.as_entire_binding(),
                params.as_entire_binding(),
            ],
        );
        Some(Self { keys: keys.count, energies, sums, readback, bind })
    }

    /// Returns the sizes in bytes of the energies and of the sums of this number of blocks.
    fn lens(&self, blocks: usize) -> (u64, u64) {
        (blocks as u64 * ENERGY_LEN, (blocks * self.keys) as u64 * SUM_LEN)
    }

    /// Encodes the initialisation with ones of what the kernel will write.
    pub(super) fn poison(&self, gpu: &Gpu, encoder: &mut CommandEncoder, blocks: usize) {
        let (energies, sums) = self.lens(blocks);
        gpu.scratch.poison.fill(encoder, &self.energies, 0, energies);
        gpu.scratch.poison.fill(encoder, &self.sums, 0, sums);
    }

    /// Encodes the kernel.
    pub(super) fn dispatch(&self, gpu: &Gpu, pass: &mut ComputePass<'_>, blocks: usize) {
        pass.set_bind_group(0, &self.bind, &[]);
        pass.set_pipeline(gpu.kernels[CORRELATION].entry("correlate"));
        let groups = blocks.div_ceil(BLOCKS_A_GROUP);
        pass.dispatch_workgroups(groups as u32, self.keys as u32, 1);
    }

    /// Encodes the copies to the read-back buffer.
    pub(super) fn download(&self, encoder: &mut CommandEncoder, blocks: usize) {
        let (energies, sums) = self.lens(blocks);
        encoder.copy_buffer_to_buffer(&self.energies, 0, &self.readback, 0, energies);
        encoder.copy_buffer_to_buffer(&self.sums, 0, &self.readback, energies, sums);
    }

    /// Reads the results from the mapped read-back buffer.
    pub(super) fn results(&self, blocks: usize) -> Result<Correlation, GpuError> {
        let (energies, sums) = self.lens(blocks);
        let view = mapped(&self.readback, energies + sums)?;
        let pairs = words_at(&view, 0, 2 * blocks);
        let sums = words_at(&view, energies, self.keys * blocks);
        drop(view);
        self.readback.unmap();
        Ok(Correlation {
            energies: self::energies(&pairs),
            sums: sums
                .chunks(blocks)
                .map(|key| key.iter().map(|sum| *sum as i32).collect())
                .collect(),
        })
    }
}

/// Converts the words that the kernel returns for blocks.
pub(super) fn energies(words: &[u32]) -> Vec<Energy> {
    let energy = |pair: &[u32; 2]| Energy {
        energy: u64::from(pair[1] & 0xFFFF) << 32 | u64::from(pair[0]),
        nonzero: pair[1] >> 16,
    };
    words.as_chunks().0.iter().map(energy).collect()
}

/// Returns the number of carrier blocks in a tile. All are complete, because a tile is whole MiB.
pub(super) fn carrier_blocks(spec: &TileSpec, carrier: &Carrier) -> usize {
    spec.len / carrier.elements.block_bytes()
}

/// Returns [`Params`] with the members for the carrier of the tile; zero if there is none.
pub(super) fn carrier_params(spec: &TileSpec) -> Params {
    let mut params: Params = bytemuck::Zeroable::zeroed();
    if let Some(carrier) = &spec.kernels.carrier {
        params.nonce = chips::words(&carrier.nonce);
        params.first_block = carrier.block_at(spec.offset) as u32;
        params.width = carrier.elements.width as u32;
        params.mantissa_bits = carrier.elements.mantissa_bits;
        params.limit = carrier.elements.limit;
    }
    params
}
