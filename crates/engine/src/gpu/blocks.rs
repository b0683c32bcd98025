//! The kernels that read quantisation blocks: `codes`, `dequantise`, and `correlation` of the dequantised
//! values.
//!
//! The values of a tile take up to 21 times its bytes, so they are computed and correlated in parts, one
//! after the other in one buffer.

use super::block_types::PART_UNITS;
use super::buffers::{READ_BACK, RETURNED, buffer, filled, mapped, words_at};
use super::correlation::{
    BLOCKS_A_GROUP, DeviceKeys, ENERGY_LEN, SUM_LEN, carrier_params, energies,
};
use super::device::Gpu;
use super::error::GpuError;
use super::pipelines::{CODES, CORRELATION, DEQUANTISE, Params};
use super::spec::TileSpec;
use crate::measure::codes::{self, CodeCounts};
use crate::measure::correlation::{Carrier, Correlation};
use crate::measure::histogram::{BINS, bins};
use bytemuck::{Pod, Zeroable};
use std::num::NonZeroU64;
use tensorseal_base::dtype::Dtype;
use tensorseal_base::quantised::{OwnedBlocks, UNIT_LEN};
use wgpu::{
    BindGroup, BindingResource, Buffer, BufferBinding, BufferUsages, CommandEncoder,
    CommandEncoderDescriptor, ComputePass, MapMode,
};

/// The distance in bytes between parameters in their buffer, an alignment that every device supports.
const STRIDE: u64 = 256;

/// The number of words before the counts of scale words: 256 codes, six counts, two unused words.
const TOTALS: usize = 264;

/// The number of workgroups that count: enough to occupy a large GPU.
const GROUPS: u32 = 256;

/// The number of elements that a workgroup of `shaders/dequantise.wgsl` computes.
const ELEMENTS_A_GROUP: usize = 256;

/// The usage of the buffers of parameters.
const PARAMS_USAGE: BufferUsages = BufferUsages::UNIFORM.union(BufferUsages::COPY_DST);

/// The parameters of the kernels: `BlockParams` in `shaders/include/blocks.wgsl`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BlockParams {
    first: u32,
    blocks: u32,
    elements: u32,
    /// Unused; the size of a uniform buffer is a multiple of 16 bytes.
    padding: u32,
}

/// Returns the blocks of the units that begin in a tile.
fn owned(spec: &TileSpec, dtype: Dtype) -> OwnedBlocks {
    OwnedBlocks::for_range(dtype, spec.offset, spec.len, spec.len + spec.halo)
}

/// Returns the binding of a part of a buffer.
fn part(buffer: &Buffer, offset: u64, size: u64) -> BindingResource<'_> {
    BindingResource::Buffer(BufferBinding { buffer, offset, size: NonZeroU64::new(size) })
}

/// The buffers for the quantisation blocks of a tile, created with the first tile that has any.
pub(super) struct BlockBuffers {
    codes: Option<CodeBuffers>,
    values: Option<ValueBuffers>,
}

/// The buffers for counts of codes and scale words.
struct CodeBuffers {
    counts: Buffer,
    readback: Buffer,
    params: Buffer,
    bind: BindGroup,
}

/// The buffers for correlations of dequantised values.
struct ValueBuffers {
    /// The number of parts that fit the buffers.
    parts: usize,
    energies: Buffer,
    sums: Buffer,
    readback: Buffer,
    /// The parameters of `dequantise` and of `correlation`, for each part.
    params: Buffer,
    binds: Vec<[BindGroup; 2]>,
}

/// A part of a tile.
struct TilePart {
    first_block: usize,
    blocks: usize,
    units: usize,
}

/// Returns the parts of the blocks that a tile owns.
fn parts(owned: OwnedBlocks, dtype: Dtype) -> impl Iterator<Item = TilePart> {
    let per_unit = UNIT_LEN / dtype.granule().1 as usize;
    let at_once = PART_UNITS * per_unit;
    (0..owned.blocks).step_by(at_once).map(move |first_block| {
        let blocks = at_once.min(owned.blocks - first_block);
        TilePart { first_block, blocks, units: blocks.div_ceil(per_unit) }
    })
}

impl BlockBuffers {
    pub(super) fn new() -> Self {
        Self { codes: None, values: None }
    }

    /// Creates the buffers that the requested measurements of a tile need.
    pub(super) fn fit(&mut self, gpu: &Gpu, tile: &Buffer, keys: &DeviceKeys, spec: &TileSpec) {
        if spec.kernels.codes.is_some() {
            self.codes.get_or_insert_with(|| CodeBuffers::new(gpu, tile));
        }
        if let Some(dtype) = spec.kernels.carrier.and_then(|carrier| carrier.blocks)
            && keys.count > 0
        {
            let needed = parts(owned(spec, dtype), dtype).count().max(1);
            if self.values.as_ref().is_none_or(|values| values.parts < needed) {
                self.values = Some(ValueBuffers::new(gpu, tile, keys, needed));
            }
        }
    }

    /// Returns the buffers that the host reads after this tile.
    pub(super) fn readbacks(&self, spec: &TileSpec) -> impl Iterator<Item = &Buffer> {
        let codes = self.codes.as_ref().filter(|_| spec.kernels.codes.is_some());
        let values = self.values.as_ref().filter(|_| has_values(spec));
        codes.map(|slot| &slot.readback).into_iter().chain(values.map(|slot| &slot.readback))
    }

    /// Writes the parameters of the kernels.
    pub(super) fn set_params(&self, gpu: &Gpu, spec: &TileSpec) {
        if let (Some(slot), Some(dtype)) = (&self.codes, spec.kernels.codes) {
            let OwnedBlocks { skip, blocks, .. } = owned(spec, dtype);
            let params =
                BlockParams { first: skip as u32, blocks: blocks as u32, elements: 0, padding: 0 };
            gpu.queue.write_buffer(&slot.params, 0, bytemuck::bytes_of(&params));
        }
        let Some((slot, carrier, dtype)) = self.carried(spec) else { return };
        let owned = owned(spec, dtype);
        let size = dtype.granule().0 as usize;
        let mut bytes = Vec::new();
        for (number, part) in parts(owned, dtype).enumerate() {
            let params = BlockParams {
                first: (owned.skip + part.first_block * size) as u32,
                blocks: part.blocks as u32,
                elements: (part.units * UNIT_LEN) as u32,
                padding: 0,
            };
            let first = carrier.block_at(spec.offset) + (number * PART_UNITS) as u64;
            let correlated = Params {
                first_block: first as u32,
                // A chunk has 256 values, so a carrier block has two chunks.
                chunks: 2 * part.units as u32,
                ..carrier_params(spec)
            };
            bytes.extend_from_slice(bytemuck::bytes_of(&params));
            bytes.resize((2 * number + 1) * STRIDE as usize, 0);
            bytes.extend_from_slice(bytemuck::bytes_of(&correlated));
            bytes.resize((2 * number + 2) * STRIDE as usize, 0);
        }
        if !bytes.is_empty() {
            gpu.queue.write_buffer(&slot.params, 0, &bytes);
        }
    }

    fn carried<'a>(&'a self, spec: &'a TileSpec) -> Option<(&'a ValueBuffers, &'a Carrier, Dtype)> {
        let carrier = spec.kernels.carrier.as_ref()?;
        Some((self.values.as_ref()?, carrier, carrier.blocks?))
    }

    /// Encodes the clearing of counts, and the kernel that counts codes.
    pub(super) fn count(&self, gpu: &Gpu, encoder: &mut CommandEncoder, spec: &TileSpec) {
        let (Some(slot), Some(dtype)) = (&self.codes, spec.kernels.codes) else { return };
        let (high, low) = bins(codes::scale_words(dtype));
        encoder.clear_buffer(&gpu.scratch.count_replicas, 0, None);
        encoder.clear_buffer(&slot.counts, 0, Some(4 * TOTALS as u64));
        let tables = 4 * (high + low) as u64;
        gpu.scratch.poison.fill(encoder, &slot.counts, 4 * TOTALS as u64, tables);
        let kernel = &gpu.kernels[CODES];
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_bind_group(0, &slot.bind, &[]);
        pass.set_pipeline(kernel.of_type(&gpu.device, "count", dtype));
        pass.dispatch_workgroups(GROUPS, 1, 1);
        pass.set_pipeline(kernel.of_type(&gpu.device, "merge", dtype));
        pass.dispatch_workgroups(((high + low) / 256) as u32, 1, 1);
    }

    /// Encodes the correlations, one part after the other.
    pub(super) fn correlate(
        &self,
        gpu: &Gpu,
        encoder: &mut CommandEncoder,
        spec: &TileSpec,
        keys: &DeviceKeys,
    ) {
        let Some((slot, _, dtype)) = self.carried(spec) else { return };
        let lens = slot.lens(owned(spec, dtype), dtype, keys);
        gpu.scratch.poison.fill(encoder, &slot.energies, 0, lens.0);
        gpu.scratch.poison.fill(encoder, &slot.sums, 0, lens.1);
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for (part, [blocks, correlated]) in parts(owned(spec, dtype), dtype).zip(&slot.binds) {
            dequantise(gpu, &mut pass, blocks, dtype, part.units);
            pass.set_bind_group(0, correlated, &[]);
            pass.set_pipeline(gpu.kernels[CORRELATION].entry("correlate"));
            let groups = part.units.div_ceil(BLOCKS_A_GROUP);
            pass.dispatch_workgroups(groups as u32, keys.count as u32, 1);
        }
    }

    /// Encodes the copies to the read-back buffers.
    pub(super) fn download(
        &self,
        encoder: &mut CommandEncoder,
        spec: &TileSpec,
        keys: &DeviceKeys,
    ) {
        if let (Some(slot), Some(dtype)) = (&self.codes, spec.kernels.codes) {
            let len = counts_len(dtype);
            encoder.copy_buffer_to_buffer(&slot.counts, 0, &slot.readback, 0, len);
        }
        if let Some((slot, _, dtype)) = self.carried(spec) {
            let (energies, sums) = slot.lens(owned(spec, dtype), dtype, keys);
            if energies > 0 {
                encoder.copy_buffer_to_buffer(&slot.energies, 0, &slot.readback, 0, energies);
                encoder.copy_buffer_to_buffer(&slot.sums, 0, &slot.readback, energies, sums);
            }
        }
    }

    /// Reads the counts from the mapped read-back buffer.
    pub(super) fn codes(&self, spec: &TileSpec) -> Result<Option<CodeCounts>, GpuError> {
        let (Some(slot), Some(dtype)) = (&self.codes, spec.kernels.codes) else { return Ok(None) };
        let (high, low) = bins(codes::scale_words(dtype));
        let view = mapped(&slot.readback, counts_len(dtype))?;
        let words = words_at(&view, 0, TOTALS + high + low);
        drop(view);
        slot.readback.unmap();
        let elements = std::array::from_fn(|code| words[code]);
        let counts = std::array::from_fn(|i| words[256 + i].into());
        let (scales, minima) = words[TOTALS..].split_at(high);
        Ok(Some(CodeCounts::from_counts(dtype, &elements, counts, scales, minima)))
    }

    /// Reads the correlations from the mapped read-back buffer.
    pub(super) fn correlation(
        &self,
        spec: &TileSpec,
        keys: &DeviceKeys,
    ) -> Result<Option<Correlation>, GpuError> {
        let Some((slot, _, dtype)) = self.carried(spec) else { return Ok(None) };
        let owned = owned(spec, dtype);
        let (len, sums_len) = slot.lens(owned, dtype, keys);
        let mut correlation = Correlation::new(keys.count);
        let view = mapped(&slot.readback, len + sums_len)?;
        correlation.energies = energies(&words_at(&view, 0, len as usize / 4));
        let mut sums = words_at(&view, len, sums_len as usize / 4).into_iter();
        for part in parts(owned, dtype) {
            for by_key in &mut correlation.sums {
                by_key.extend(sums.by_ref().take(part.units).map(|sum| sum as i32));
            }
        }
        drop(view);
        slot.readback.unmap();
        Ok(Some(correlation))
    }
}

/// Returns whether the dequantised values of a tile are correlated.
fn has_values(spec: &TileSpec) -> bool {
    spec.kernels.carrier.is_some_and(|carrier| carrier.blocks.is_some())
}

fn counts_len(dtype: Dtype) -> u64 {
    let (high, low) = bins(codes::scale_words(dtype));
    4 * (TOTALS + high + low) as u64
}

fn dequantise(gpu: &Gpu, pass: &mut ComputePass<'_>, bind: &BindGroup, dtype: Dtype, units: usize) {
    pass.set_bind_group(0, bind, &[]);
    pass.set_pipeline(gpu.kernels[DEQUANTISE].of_type(&gpu.device, "dequantise", dtype));
    pass.dispatch_workgroups((units * UNIT_LEN / ELEMENTS_A_GROUP) as u32, 1, 1);
}

impl CodeBuffers {
    fn new(gpu: &Gpu, tile: &Buffer) -> Self {
        let device = &gpu.device;
        let len = 4 * (TOTALS + 2 * BINS) as u64;
        let (counts, readback) = (buffer(device, len, RETURNED), buffer(device, len, READ_BACK));
        let params = buffer(device, size_of::<BlockParams>() as u64, PARAMS_USAGE);
        let bind = gpu.kernels[CODES].bind(
            device,
            &[
                tile.as_entire_binding(),
                gpu.scratch.block_tables.as_entire_binding(),
                gpu.scratch.count_replicas.as_entire_binding(),
                counts.as_entire_binding(),
                params.as_entire_binding(),
            ],
        );
        Self { counts, readback, params, bind }
    }
}

impl ValueBuffers {
    fn new(gpu: &Gpu, tile: &Buffer, keys: &DeviceKeys, parts: usize) -> Self {
        let device = &gpu.device;
        let energy_len = PART_UNITS as u64 * ENERGY_LEN;
        let sum_len = (PART_UNITS * keys.count) as u64 * SUM_LEN;
        let count = parts as u64;
        let energies = buffer(device, count * energy_len, RETURNED);
        let sums = buffer(device, count * sum_len, RETURNED);
        let readback = buffer(device, count * (energy_len + sum_len), READ_BACK);
        let params = buffer(device, 2 * count * STRIDE, PARAMS_USAGE);
        let values = gpu.values();
        let binds = (0..count).map(|number| {
            let params_part =
                |i: u64, size: usize| part(&params, (2 * number + i) * STRIDE, size as u64);
            let blocks = gpu.kernels[DEQUANTISE].bind(
                device,
                &[
                    tile.as_entire_binding(),
                    gpu.scratch.block_tables.as_entire_binding(),
                    values.as_entire_binding(),
                    params_part(0, size_of::<BlockParams>()),
                ],
            );
            let correlated = gpu.kernels[CORRELATION].bind(
                device,
                &[
                    values.as_entire_binding(),
                    keys.words.as_entire_binding(),
                    part(&energies, number * energy_len, energy_len),
                    part(&sums, number * sum_len, sum_len),
                    params_part(1, size_of::<Params>()),
                ],
            );
            [blocks, correlated]
        });
        let binds = binds.collect();
        Self { parts, energies, sums, readback, params, binds }
    }

    /// Returns the sizes in bytes of the energies and of the sums of a tile. Only the last part may be shorter
    /// than its space.
    fn lens(&self, owned: OwnedBlocks, dtype: Dtype, keys: &DeviceKeys) -> (u64, u64) {
        let units = owned.units(dtype) as u64;
        (units * ENERGY_LEN, units * keys.count as u64 * SUM_LEN)
    }
}

impl Gpu {
    /// Returns the bits of the values of whole blocks as binary32, for tests and the self-test. The blocks may
    /// have up to 16,384 units of 512 elements; the last unit is filled up with zeros.
    ///
    /// # Errors
    /// Returns a [`GpuError`] if the device fails, or if there are too many blocks.
    pub fn dequantise(&self, dtype: Dtype, blocks: &[u8]) -> Result<Vec<u32>, GpuError> {
        let _one_run = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let owned = OwnedBlocks::for_range(dtype, 0, blocks.len(), blocks.len());
        let units = owned.units(dtype);
        if units == 0 || units > PART_UNITS {
            return Err(GpuError::Failed(format!("{units} units are not dequantised at once")));
        }
        let device = &self.device;
        let mut padded = blocks.to_vec();
        padded.resize(blocks.len().next_multiple_of(16), 0);
        let tile = filled(device, &padded, BufferUsages::STORAGE);
        let elements = (units * UNIT_LEN) as u32;
        let params = BlockParams { first: 0, blocks: owned.blocks as u32, elements, padding: 0 };
        let params_part = filled(device, bytemuck::bytes_of(&params), BufferUsages::UNIFORM);
        let (values, len) = (self.values(), 4 * u64::from(elements));
        let readback = buffer(device, len, READ_BACK);
        let bind = self.kernels[DEQUANTISE].bind(
            device,
            &[
                tile.as_entire_binding(),
                self.scratch.block_tables.as_entire_binding(),
                values.as_entire_binding(),
                params_part.as_entire_binding(),
            ],
        );
        let mut encoder = device.create_command_encoder(&CommandEncoderDescriptor::default());
        self.scratch.poison.fill(&mut encoder, values, 0, len);
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            dequantise(self, &mut pass, &bind, dtype, units);
        }
        encoder.copy_buffer_to_buffer(values, 0, &readback, 0, len);
        let submission = self.queue.submit([encoder.finish()]);
        readback.slice(..).map_async(MapMode::Read, |_| {});
        self.wait(&submission)?;
        let view = mapped(&readback, len)?;
        Ok(words_at(&view, 0, elements as usize))
    }
}
