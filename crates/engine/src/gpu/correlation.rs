//! `correlation` on the device: the keys of a run, and what each tile in flight needs for them.

use super::buffers::{READ_BACK, RETURNED, buffer, mapped, words_at};
use super::device::Gpu;
use super::error::GpuError;
use super::pipelines::{CORRELATION, Params};
use super::spec::TileSpec;
use crate::measure::TILE_LEN;
use crate::measure::chips::{self, ChipKey};
use crate::measure::correlation::{CARRIER_LEN, Carrier, Correlation, Energy};
use wgpu::{BindGroup, Buffer, BufferUsages, CommandEncoder, ComputePass};

/// Carrier blocks of a workgroup of `shaders/correlation.wgsl`, and the most that a tile has.
pub(super) const BLOCKS_A_GROUP: usize = 16;
const MOST_CARRIER_BLOCKS: u64 = (TILE_LEN / CARRIER_LEN) as u64;
/// Bytes that the kernel returns of a carrier block, and of it with each key.
pub(super) const ENERGY_LEN: u64 = 8;
pub(super) const SUM_LEN: u64 = 4;

/// The keys of a run, on the device.
#[derive(Clone)]
pub(super) struct DeviceKeys {
    pub count: usize,
    pub words: Buffer,
}

impl Gpu {
    /// Copies the keys of a run to the device.
    pub(super) fn upload_keys(&self, keys: &[ChipKey]) -> DeviceKeys {
        // A binding must not be empty.
        let size = 32 * keys.len().max(1) as u64;
        let words = buffer(&self.device, size, BufferUsages::STORAGE | BufferUsages::COPY_DST);
        for (key, at) in keys.iter().zip((0..).step_by(32)) {
            self.queue.write_buffer(&words, at, bytemuck::cast_slice(&key.words()));
        }
        DeviceKeys { count: keys.len(), words }
    }
}

/// What the correlations of a tile need: only there when a run has keys.
pub(super) struct CorrelationBuffers {
    keys: usize,
    /// Energies of all blocks, and for each key the sums of all blocks.
    energies: Buffer,
    sums: Buffer,
    /// Energies, then sums, of the blocks that the tile has.
    pub readback: Buffer,
    bind: BindGroup,
}

impl CorrelationBuffers {
    /// For tiles that lie in `tile` and whose params lie in `params`; `None` when there are no keys.
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

    /// Bytes of the energies and of the sums of so many blocks.
    fn lens(&self, blocks: usize) -> (u64, u64) {
        (blocks as u64 * ENERGY_LEN, (blocks * self.keys) as u64 * SUM_LEN)
    }

    /// Encodes the filling of what the kernel will write with ones.
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

    /// Encodes the copies back.
    pub(super) fn download(&self, encoder: &mut CommandEncoder, blocks: usize) {
        let (energies, sums) = self.lens(blocks);
        encoder.copy_buffer_to_buffer(&self.energies, 0, &self.readback, 0, energies);
        encoder.copy_buffer_to_buffer(&self.sums, 0, &self.readback, energies, sums);
    }

    /// Reads the results out of the mapped read-back buffer.
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

/// What the kernel says of blocks.
pub(super) fn energies(words: &[u32]) -> Vec<Energy> {
    let energy = |pair: &[u32; 2]| Energy {
        energy: u64::from(pair[1] & 0xFFFF) << 32 | u64::from(pair[0]),
        nonzero: pair[1] >> 16,
    };
    words.as_chunks().0.iter().map(energy).collect()
}

/// Carrier blocks of a tile: it is whole blocks of 1 MiB, so they are whole, too.
pub(super) fn carrier_blocks(spec: &TileSpec, carrier: &Carrier) -> usize {
    spec.len / carrier.elements.block_bytes()
}

/// The members of [`Params`] that tell of carriers; zero when there are none.
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
