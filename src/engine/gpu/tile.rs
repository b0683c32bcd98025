//! One tile on the device: its buffers, its commands, its results.

use super::GpuError;
use super::device::Gpu;
use super::pipelines::{Compiled, DIGEST, HISTOGRAM, Params, SUMMARY};
use super::ring::TileSpec;
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
}

impl Slot {
    pub fn new(gpu: &Gpu) -> Self {
        let device = &gpu.device;
        let tile = buffer(device, TILE_LEN as u64, BufferUsages::STORAGE | BufferUsages::COPY_DST);
        let results = buffer(
            device,
            RESULTS_LEN,
            BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        );
        let params = buffer(device, 16, BufferUsages::UNIFORM | BufferUsages::COPY_DST);
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
                    tile_all,
                    scratch.sum_replicas.as_entire_binding(),
                    part(ROWS_AT, ROWS_LEN),
                    part(SUMS_AT, SUMS_LEN),
                    params_all,
                ],
            ),
        ];
        let staging =
            buffer(device, TILE_LEN as u64, BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC);
        let readback = buffer(device, RESULTS_LEN, BufferUsages::MAP_READ | BufferUsages::COPY_DST);
        Self { staging, readback, tile, results, params, binds }
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
            words: spec.words.map_or(0, |words| words as u32),
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
            results_len(spec.words),
        );
        self.encode_kernel(gpu, encoder, spec, DIGEST);
        if let Some(words) = spec.words {
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
        pass.set_bind_group(0, &self.binds[kernel], &[]);
        let compiled = &gpu.kernels[kernel];
        let words = spec.words.unwrap_or(Words::Bits8);
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

    /// Encodes the one copy back.
    pub fn download(&self, encoder: &mut CommandEncoder, spec: &TileSpec) {
        let len = results_len(spec.words);
        encoder.copy_buffer_to_buffer(&self.results, 0, &self.readback, 0, len);
    }

    /// Reads the results out of the mapped read-back buffer.
    pub fn results(&self, spec: &TileSpec) -> Result<TileMeasurement, GpuError> {
        let view = self
            .readback
            .slice(..results_len(spec.words))
            .get_mapped_range()
            .map_err(|error| GpuError::Failed(error.to_string()))?;
        let bytes: &[u8] = &view;
        let (values, _) = bytes.as_chunks::<32>();
        let blocks = values[..spec.len / BLOCK_LEN].to_vec();
        let histogram = spec.words.map(|words| {
            let (high, low) = bins(words);
            let counts = words_at(bytes, COUNTS_AT, high + low);
            let mut histogram = Histogram::new(words);
            histogram.add_counts(&counts[..high], &counts[high..]);
            histogram
        });
        let summary = spec.words.filter(|words| words.has_summary()).map(|words| {
            let rows = words_at(bytes, ROWS_AT, GROUPS as usize * ROW);
            let sums = match words.width() {
                4 => words_at(bytes, SUMS_AT, 2 * BINS),
                _ => Vec::new(),
            };
            summary(words, &rows, &sums)
        });
        drop(view);
        self.readback.unmap();
        Ok(TileMeasurement { blocks, histogram, summary })
    }
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
