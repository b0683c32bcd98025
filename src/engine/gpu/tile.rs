//! One tile on the device: its buffers, its commands, its results.

use super::GpuError;
use super::device::Gpu;
use super::pipelines::{CORRELATION, Compiled, DIGEST, HISTOGRAM, Params, SUMMARY};
use super::ring::TileSpec;
use crate::measure::chips::{self, ChipKey};
use crate::measure::correlation::{CARRIER_LEN, Carrier, Correlation, Energy};
use crate::measure::histogram::{BINS, Histogram, bins};
use crate::measure::summary::{Classes, Summary};
use crate::measure::{BLOCK_LEN, TILE_LEN, TileMeasurement, Words};
use wgpu::{
    BindGroup, Buffer, BufferBinding, BufferDescriptor, BufferUsages, CommandEncoder, ComputePass,
    Device,
};

const CHUNK_LEN: u64 = 1024;

/// Workgroups of the kernels that walk the tile: enough to fill a large GPU, few enough for the rows
/// that each of them writes.
const GROUPS: u32 = 256;

/// Words of a row of `shaders/summary.wgsl`.
const ROW: usize = 14;

/// Tables of `shaders/histogram.wgsl` and `shaders/summary.wgsl`.
const COUNT_REPLICAS: u64 = 8 + 2;
const SUM_REPLICAS: u64 = 4;

/// Where each kernel writes in the results, in bytes. What is not asked for lies at the end, so that
/// one copy of a prefix brings back what is.
const BLOCKS_AT: u64 = 0;
const BLOCKS_LEN: u64 = (TILE_LEN / BLOCK_LEN * 32) as u64;
const COUNTS_AT: u64 = BLOCKS_AT + BLOCKS_LEN;
const COUNTS_LEN: u64 = 2 * BINS as u64 * 4;
const ROWS_AT: u64 = COUNTS_AT + COUNTS_LEN;
const ROWS_LEN: u64 = GROUPS as u64 * ROW as u64 * 4;
const SUMS_AT: u64 = ROWS_AT + ROWS_LEN;
const SUMS_LEN: u64 = BINS as u64 * 8;
const RESULTS_LEN: u64 = SUMS_AT + SUMS_LEN;

/// Carrier blocks of a workgroup of `shaders/correlation.wgsl`, and the most that a tile has.
const BLOCKS_A_GROUP: usize = 16;
const MOST_CARRIER_BLOCKS: u64 = (TILE_LEN / CARRIER_LEN) as u64;
/// Bytes that the kernel returns of a carrier block, and of it with each key.
const ENERGY_LEN: u64 = 8;
const SUM_LEN: u64 = 4;

/// Buffers that the tiles use one after the other; the queue keeps them apart.
pub(super) struct Scratch {
    chunk_values: Buffer,
    count_replicas: Buffer,
    sum_replicas: Buffer,
    /// All ones: results begin as this, so that a word no kernel wrote is seen.
    poison: Buffer,
}

impl Scratch {
    pub fn new(device: &Device) -> Self {
        let storage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let scratch = Self {
            chunk_values: buffer(device, TILE_LEN as u64 / CHUNK_LEN * 32, storage),
            count_replicas: buffer(device, COUNT_REPLICAS * BINS as u64 * 4, storage),
            sum_replicas: buffer(device, SUM_REPLICAS * BINS as u64 * 8, storage),
            poison: device.create_buffer(&BufferDescriptor {
                label: Some("poison"),
                size: RESULTS_LEN,
                usage: BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            }),
        };
        if let Ok(mut view) = scratch.poison.slice(..).get_mapped_range_mut() {
            view.slice(..).fill(0xFF);
        }
        scratch.poison.unmap();
        scratch
    }
}

fn buffer(device: &Device, size: u64, usage: BufferUsages) -> Buffer {
    device.create_buffer(&BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}

/// The keys of a run, on the device.
pub(super) struct Keys {
    count: usize,
    words: Buffer,
}

impl Gpu {
    /// Copies the keys of a run to the device.
    pub(super) fn upload_keys(&self, keys: &[ChipKey]) -> Keys {
        // A binding must not be empty.
        let size = 32 * keys.len().max(1) as u64;
        let words = buffer(&self.device, size, BufferUsages::STORAGE | BufferUsages::COPY_DST);
        for (key, at) in keys.iter().zip((0..).step_by(32)) {
            self.queue.write_buffer(&words, at, bytemuck::cast_slice(&key.words()));
        }
        Keys { count: keys.len(), words }
    }
}

/// What the correlations of a tile need: only there when a run has keys.
struct CorrelationSlot {
    keys: usize,
    /// Energies of all blocks, and for each key the sums of all blocks.
    energies: Buffer,
    sums: Buffer,
    /// Energies, then sums, of the blocks that the tile has.
    readback: Buffer,
    bind: BindGroup,
}

/// The buffers of one tile in flight.
pub(super) struct Slot {
    /// Filled by the host.
    pub staging: Buffer,
    /// Read by the host.
    pub readback: Buffer,
    tile: Buffer,
    results: Buffer,
    params: Buffer,
    binds: [BindGroup; 3],
    correlation: Option<CorrelationSlot>,
}

impl Slot {
    pub fn new(gpu: &Gpu, keys: &Keys) -> Self {
        let device = &gpu.device;
        let tile = buffer(device, TILE_LEN as u64, BufferUsages::STORAGE | BufferUsages::COPY_DST);
        let results = buffer(
            device,
            RESULTS_LEN,
            BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        );
        let params = buffer(
            device,
            size_of::<Params>() as u64,
            BufferUsages::UNIFORM | BufferUsages::COPY_DST,
        );
        let part = |offset: u64, size: u64| {
            let size = std::num::NonZeroU64::new(size);
            wgpu::BindingResource::Buffer(BufferBinding { buffer: &results, offset, size })
        };
        let scratch = &gpu.scratch;
        let bind = |kernel: usize, resources: &[wgpu::BindingResource<'_>]| {
            gpu.kernels[kernel].bind(device, resources)
        };
        let (tile_all, params_all) = (tile.as_entire_binding(), params.as_entire_binding());
        let binds = [
            bind(
                DIGEST,
                &[
                    tile_all.clone(),
                    scratch.chunk_values.as_entire_binding(),
                    part(BLOCKS_AT, BLOCKS_LEN),
                    params_all.clone(),
                ],
            ),
            bind(
                HISTOGRAM,
                &[
                    tile_all.clone(),
                    scratch.count_replicas.as_entire_binding(),
                    part(COUNTS_AT, COUNTS_LEN),
                    params_all.clone(),
                ],
            ),
            bind(
                SUMMARY,
                &[
                    tile_all.clone(),
                    scratch.sum_replicas.as_entire_binding(),
                    part(ROWS_AT, ROWS_LEN),
                    part(SUMS_AT, SUMS_LEN),
                    params_all.clone(),
                ],
            ),
        ];
        let correlation = (keys.count > 0).then(|| {
            let returned = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
            let sums_len = keys.count as u64 * SUM_LEN;
            let energies = buffer(device, MOST_CARRIER_BLOCKS * ENERGY_LEN, returned);
            let sums = buffer(device, MOST_CARRIER_BLOCKS * sums_len, returned);
            let readback = buffer(
                device,
                MOST_CARRIER_BLOCKS * (ENERGY_LEN + sums_len),
                BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            );
            let bind = bind(
                CORRELATION,
                &[
                    tile_all.clone(),
                    keys.words.as_entire_binding(),
                    energies.as_entire_binding(),
                    sums.as_entire_binding(),
                    params_all.clone(),
                ],
            );
            CorrelationSlot { keys: keys.count, energies, sums, readback, bind }
        });
        let staging =
            buffer(device, TILE_LEN as u64, BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC);
        let readback = buffer(device, RESULTS_LEN, BufferUsages::MAP_READ | BufferUsages::COPY_DST);
        Self { staging, readback, tile, results, params, binds, correlation }
    }

    /// The buffers that the host reads after this tile.
    pub fn readbacks(&self, spec: &TileSpec) -> Vec<&Buffer> {
        let correlation = self.correlation.as_ref().filter(|_| spec.wanted.carrier.is_some());
        std::iter::once(&self.readback).chain(correlation.map(|slot| &slot.readback)).collect()
    }

    /// Encodes the copy of the staged bytes to the device.
    pub fn upload(&self, encoder: &mut CommandEncoder, len: usize) {
        encoder.copy_buffer_to_buffer(&self.staging, 0, &self.tile, 0, len as u64);
    }

    /// Encodes the copy of a whole tile that is on the device already.
    pub fn load(&self, encoder: &mut CommandEncoder, source: &Buffer) {
        encoder.copy_buffer_to_buffer(source, 0, &self.tile, 0, TILE_LEN as u64);
    }

    /// Tells the kernels what the tile is.
    pub fn set_params(&self, gpu: &Gpu, spec: &TileSpec) {
        let first = spec.offset / CHUNK_LEN;
        let params = Params {
            first_chunk: [first as u32, (first >> 32) as u32],
            chunks: (spec.len as u64 / CHUNK_LEN) as u32,
            words: spec.wanted.words.map_or(0, |words| words as u32),
            ..carrier_params(spec)
        };
        gpu.queue.write_buffer(&self.params, 0, bytemuck::bytes_of(&params));
    }

    /// Encodes all kernels of a tile, over the one copy of its bytes.
    pub fn measure(&self, gpu: &Gpu, encoder: &mut CommandEncoder, spec: &TileSpec) {
        self.set_params(gpu, spec);
        encoder.copy_buffer_to_buffer(
            &gpu.scratch.poison,
            0,
            &self.results,
            0,
            results_len(spec.wanted.words),
        );
        self.encode_kernel(gpu, encoder, spec, DIGEST);
        if let (Some(slot), Some(carrier)) = (&self.correlation, &spec.wanted.carrier) {
            let blocks = carrier_blocks(spec, carrier);
            slot.poison(gpu, encoder, blocks);
            self.encode_kernel(gpu, encoder, spec, CORRELATION);
        }
        if let Some(words) = spec.wanted.words {
            self.encode_kernel(gpu, encoder, spec, HISTOGRAM);
            if words.has_summary() {
                self.encode_kernel(gpu, encoder, spec, SUMMARY);
            }
        }
    }

    /// Encodes one kernel, with the clearing of its tables.
    pub fn encode_kernel(
        &self,
        gpu: &Gpu,
        encoder: &mut CommandEncoder,
        spec: &TileSpec,
        kernel: usize,
    ) {
        match kernel {
            HISTOGRAM => encoder.clear_buffer(&gpu.scratch.count_replicas, 0, None),
            SUMMARY => encoder.clear_buffer(&gpu.scratch.sum_replicas, 0, None),
            _ => {}
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let compiled = &gpu.kernels[kernel];
        if kernel == CORRELATION {
            if let (Some(slot), Some(carrier)) = (&self.correlation, &spec.wanted.carrier) {
                let groups = carrier_blocks(spec, carrier).div_ceil(BLOCKS_A_GROUP);
                pass.set_bind_group(0, &slot.bind, &[]);
                pass.set_pipeline(compiled.entry("correlate"));
                pass.dispatch_workgroups(groups as u32, slot.keys as u32, 1);
            }
            return;
        }
        pass.set_bind_group(0, &self.binds[kernel], &[]);
        let words = spec.wanted.words.unwrap_or(Words::Bits8);
        let (high, low) = bins(words);
        match kernel {
            DIGEST => {
                let chunks = (spec.len as u64 / CHUNK_LEN) as u32;
                dispatch(&mut pass, compiled, "chunks", chunks.div_ceil(64));
                dispatch(&mut pass, compiled, "blocks", (spec.len / BLOCK_LEN) as u32);
            }
            HISTOGRAM => {
                let entry = if words == Words::Bits8 { "count_bytes" } else { "count_words" };
                dispatch(&mut pass, compiled, entry, GROUPS);
                dispatch(&mut pass, compiled, "merge", ((high + low) / 256) as u32);
            }
            _ => {
                dispatch(&mut pass, compiled, "classes", GROUPS);
                if words.width() == 4 {
                    dispatch(&mut pass, compiled, "merge", (BINS / 256) as u32);
                }
            }
        }
    }

    /// Encodes the copies back.
    pub fn download(&self, encoder: &mut CommandEncoder, spec: &TileSpec) {
        let len = results_len(spec.wanted.words);
        encoder.copy_buffer_to_buffer(&self.results, 0, &self.readback, 0, len);
        if let (Some(slot), Some(carrier)) = (&self.correlation, &spec.wanted.carrier) {
            let (energies, sums) = slot.lens(carrier_blocks(spec, carrier));
            encoder.copy_buffer_to_buffer(&slot.energies, 0, &slot.readback, 0, energies);
            encoder.copy_buffer_to_buffer(&slot.sums, 0, &slot.readback, energies, sums);
        }
    }

    /// Reads the results out of the mapped read-back buffer.
    pub fn results(&self, spec: &TileSpec) -> Result<TileMeasurement, GpuError> {
        let view = self
            .readback
            .slice(..results_len(spec.wanted.words))
            .get_mapped_range()
            .map_err(|error| GpuError::Failed(error.to_string()))?;
        let bytes: &[u8] = &view;
        let (values, _) = bytes.as_chunks::<32>();
        let blocks = values[..spec.len / BLOCK_LEN].to_vec();
        let histogram = spec.wanted.words.map(|words| {
            let (high, low) = bins(words);
            let counts = words_at(bytes, COUNTS_AT, high + low);
            let mut histogram = Histogram::new(words);
            histogram.add_counts(&counts[..high], &counts[high..]);
            histogram
        });
        let summary = spec.wanted.words.filter(|words| words.has_summary()).map(|words| {
            let rows = words_at(bytes, ROWS_AT, GROUPS as usize * ROW);
            let sums = match words.width() {
                4 => words_at(bytes, SUMS_AT, 2 * BINS),
                _ => Vec::new(),
            };
            summary(words, &rows, &sums)
        });
        drop(view);
        self.readback.unmap();
        let correlation = match (&self.correlation, &spec.wanted.carrier) {
            (Some(slot), Some(carrier)) => Some(slot.results(carrier_blocks(spec, carrier))?),
            _ => None,
        };
        Ok(TileMeasurement { blocks, histogram, summary, correlation, structure: None })
    }
}

impl CorrelationSlot {
    /// Bytes of the energies and of the sums of so many blocks.
    fn lens(&self, blocks: usize) -> (u64, u64) {
        (blocks as u64 * ENERGY_LEN, (blocks * self.keys) as u64 * SUM_LEN)
    }

    /// Fills what the kernel will write with ones, so that a word it does not write is seen.
    fn poison(&self, gpu: &Gpu, encoder: &mut CommandEncoder, blocks: usize) {
        let (energies, sums) = self.lens(blocks);
        for (buffer, len) in [(&self.energies, energies), (&self.sums, sums)] {
            for at in (0..len).step_by(RESULTS_LEN as usize) {
                let part = RESULTS_LEN.min(len - at);
                encoder.copy_buffer_to_buffer(&gpu.scratch.poison, 0, buffer, at, part);
            }
        }
    }

    fn results(&self, blocks: usize) -> Result<Correlation, GpuError> {
        let (energies, sums) = self.lens(blocks);
        let view = self
            .readback
            .slice(..energies + sums)
            .get_mapped_range()
            .map_err(|error| GpuError::Failed(error.to_string()))?;
        let pairs = words_at(&view, 0, 2 * blocks);
        let sums = words_at(&view, energies, self.keys * blocks);
        drop(view);
        self.readback.unmap();
        let energy = |pair: &[u32; 2]| Energy {
            energy: u64::from(pair[1] & 0xFFFF) << 32 | u64::from(pair[0]),
            nonzero: pair[1] >> 16,
        };
        Ok(Correlation {
            energies: pairs.as_chunks().0.iter().map(energy).collect(),
            sums: sums
                .chunks(blocks)
                .map(|key| key.iter().map(|sum| *sum as i32).collect())
                .collect(),
        })
    }
}

/// Carrier blocks of a tile: it is whole blocks of 1 MiB, so they are whole, too.
fn carrier_blocks(spec: &TileSpec, carrier: &Carrier) -> usize {
    spec.len / carrier.elements.block_bytes()
}

/// The members of [`Params`] that tell of carriers; zero when there are none.
fn carrier_params(spec: &TileSpec) -> Params {
    let mut params: Params = bytemuck::Zeroable::zeroed();
    if let Some(carrier) = &spec.wanted.carrier {
        params.nonce = chips::words(&carrier.nonce);
        params.first_block = carrier.block_at(spec.offset) as u32;
        params.width = carrier.elements.width as u32;
        params.mantissa_bits = carrier.elements.mantissa_bits;
        params.limit = carrier.elements.limit;
    }
    params
}

fn dispatch(pass: &mut ComputePass<'_>, kernel: &Compiled, entry: &str, groups: u32) {
    pass.set_pipeline(kernel.entry(entry));
    pass.dispatch_workgroups(groups, 1, 1);
}

/// How many bytes of the results are asked for.
fn results_len(words: Option<Words>) -> u64 {
    match words {
        None => COUNTS_AT,
        Some(words) => match words.width() {
            1 | 2 => COUNTS_AT + bins(words).0 as u64 * 4,
            4 => RESULTS_LEN,
            _ => SUMS_AT,
        },
    }
}

/// Device words, whatever the alignment of the mapped bytes and the byte order of the host.
fn words_at(bytes: &[u8], at: u64, count: usize) -> Vec<u32> {
    let at = at as usize;
    bytes[at..at + 4 * count].as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w)).collect()
}

/// Merges the rows of the workgroups.
fn summary(words: Words, rows: &[u32], sums: &[u32]) -> Summary {
    let wide = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    let mut total = Summary::new(words);
    for row in rows.as_chunks::<ROW>().0 {
        let [nan, positive, negative_infinity, zero, subnormal, negative, rest @ ..] = row;
        total.classes.merge(&Classes {
            nan: (*nan).into(),
            positive_infinity: (*positive).into(),
            negative_infinity: (*negative_infinity).into(),
            zero: (*zero).into(),
            subnormal: (*subnormal).into(),
            negative: (*negative).into(),
        });
        total.min_key = total.min_key.min(wide(rest[0], rest[1]));
        total.max_key = total.max_key.max(wide(rest[2], rest[3]));
        total.half_sums[0] += u128::from(wide(rest[4], rest[5]));
        total.half_sums[1] += u128::from(wide(rest[6], rest[7]));
    }
    total.set_low_sums(sums.as_chunks::<2>().0.iter().map(|part| wide(part[0], part[1])));
    total
}
