//! One tile on the device: its buffers, commands and results.

use super::blocks::BlockBuffers;
use super::buffers::{READ_BACK, RETURNED, buffer, mapped, words_at};
use super::correlation::{CorrelationBuffers, DeviceKeys, carrier_blocks, carrier_params};
use super::device::Gpu;
use super::error::GpuError;
use super::pipelines::{
    CODES, CORRELATION, CompiledKernel, DIGEST, HISTOGRAM, LOW_BITS, MAGNITUDES, PAGES, Params,
    SUMMARY, WINDOWS,
};
use super::scratch::CHUNK_LEN;
use super::spec::TileSpec;
use super::structure::StructureBuffers;
use crate::measure::correlation::Carrier;
use crate::measure::histogram::{BINS, Histogram, bins};
use crate::measure::summary::{ClassCounts, WordSummary};
use crate::measure::{BLOCK_LEN, TILE_LEN, TileMeasurement, WordFormat};
use tensorseal_base::quantised::HALO_LEN;
use wgpu::{BindGroup, Buffer, BufferBinding, BufferUsages, CommandEncoder, ComputePass};

/// The length of the largest tile and its halo.
const COPIED_LEN: u64 = (TILE_LEN + HALO_LEN) as u64;

/// The number of workgroups of the kernels that walk the tile: enough to occupy a large GPU, and few
/// enough for the row of results that each writes.
const GROUPS: u32 = 256;

/// The number of words in a row of `shaders/summary.wgsl`.
const ROW: usize = 14;

/// Where each kernel writes in the results, in bytes. Optional results are at the end, so that one copy
/// of a prefix reads back all that was requested.
const BLOCKS_AT: u64 = 0;
const BLOCKS_LEN: u64 = (TILE_LEN / BLOCK_LEN * 32) as u64;
const COUNTS_AT: u64 = BLOCKS_AT + BLOCKS_LEN;
const COUNTS_LEN: u64 = 2 * BINS as u64 * 4;
const ROWS_AT: u64 = COUNTS_AT + COUNTS_LEN;
const ROWS_LEN: u64 = GROUPS as u64 * ROW as u64 * 4;
const SUMS_AT: u64 = ROWS_AT + ROWS_LEN;
const SUMS_LEN: u64 = BINS as u64 * 8;
const RESULTS_LEN: u64 = SUMS_AT + SUMS_LEN;

/// The buffers of one tile in flight.
pub(super) struct TileBuffers {
    /// The buffer that the host fills.
    pub staging: Buffer,
    /// The buffer that the host reads.
    pub readback: Buffer,
    tile: Buffer,
    results: Buffer,
    params: Buffer,
    binds: [BindGroup; 3],
    correlation: Option<CorrelationBuffers>,
    structure: Option<StructureBuffers>,
    blocks: Option<BlockBuffers>,
    keys: DeviceKeys,
}

impl TileBuffers {
    pub(super) fn new(gpu: &Gpu, keys: &DeviceKeys) -> Self {
        let device = &gpu.device;
        let tile = buffer(device, COPIED_LEN, BufferUsages::STORAGE | BufferUsages::COPY_DST);
        let results = buffer(device, RESULTS_LEN, RETURNED);
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
        let correlation = CorrelationBuffers::new(gpu, keys, &tile, &params);
        let staging = buffer(device, COPIED_LEN, BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC);
        let readback = buffer(device, RESULTS_LEN, READ_BACK);
        let (structure, blocks, keys) = (None, None, keys.clone());
        Self {
            staging,
            readback,
            tile,
            results,
            params,
            binds,
            correlation,
            structure,
            blocks,
            keys,
        }
    }

    /// Creates the buffers that the requested measurements of this tile need.
    ///
    /// # Errors
    /// Returns a [`GpuError`] if the device has no memory left or cannot measure such a tile.
    pub(super) fn fit(&mut self, gpu: &Gpu, spec: &TileSpec) -> Result<(), GpuError> {
        if spec.kernels.block_type().is_some() {
            let buffers = self.blocks.get_or_insert_with(BlockBuffers::new);
            buffers.fit(gpu, &self.tile, &self.keys, spec);
            gpu.check()?;
        }
        let Some(layout) = &spec.kernels.layout else { return Ok(()) };
        let buffers = self.structure.get_or_insert_with(|| StructureBuffers::new(gpu, &self.tile));
        buffers.fit(gpu, &self.tile, spec, layout)?;
        gpu.check()
    }

    /// Returns the buffers that the host reads after this tile.
    pub(super) fn readbacks(&self, spec: &TileSpec) -> Vec<&Buffer> {
        let correlation = self.correlation.as_ref().filter(|_| plain_carrier(spec).is_some());
        let structure = self.structure.as_ref().zip(spec.kernels.layout.as_ref());
        std::iter::once(&self.readback)
            .chain(correlation.map(|buffers| &buffers.readback))
            .chain(structure.into_iter().flat_map(|(buffers, layout)| buffers.readbacks(layout)))
            .chain(self.blocks.iter().flat_map(|buffers| buffers.readbacks(spec)))
            .collect()
    }

    /// Encodes the copy of the staged bytes to the device.
    pub(super) fn upload(&self, encoder: &mut CommandEncoder, spec: &TileSpec) {
        encoder.copy_buffer_to_buffer(&self.staging, 0, &self.tile, 0, spec.copied());
    }

    /// Encodes the copy of a whole tile that is already on the device.
    pub(super) fn load(&self, encoder: &mut CommandEncoder, source: &Buffer) {
        encoder.copy_buffer_to_buffer(source, 0, &self.tile, 0, TILE_LEN as u64);
    }

    /// Writes the parameters of the kernels.
    pub(super) fn set_params(&self, gpu: &Gpu, spec: &TileSpec) {
        let first = spec.offset / CHUNK_LEN;
        let params = Params {
            first_chunk: [first as u32, (first >> 32) as u32],
            chunks: (spec.len as u64 / CHUNK_LEN) as u32,
            words: spec.kernels.words.map_or(0, |words| words as u32),
            ..carrier_params(spec)
        };
        gpu.queue.write_buffer(&self.params, 0, bytemuck::bytes_of(&params));
        if let (Some(buffers), Some(layout)) = (&self.structure, &spec.kernels.layout) {
            buffers.set_params(gpu, spec, layout);
        }
        if let Some(buffers) = &self.blocks {
            buffers.set_params(gpu, spec);
        }
    }

    /// Encodes all kernels of a tile.
    pub(super) fn measure(&self, gpu: &Gpu, encoder: &mut CommandEncoder, spec: &TileSpec) {
        self.set_params(gpu, spec);
        gpu.scratch.poison.fill(encoder, &self.results, 0, results_len(spec.kernels.words));
        self.encode_kernel(gpu, encoder, spec, DIGEST);
        if let (Some(buffers), Some(carrier)) = (&self.correlation, plain_carrier(spec)) {
            let blocks = carrier_blocks(spec, carrier);
            buffers.poison(gpu, encoder, blocks);
        }
        if spec.kernels.carrier.is_some() {
            self.encode_kernel(gpu, encoder, spec, CORRELATION);
        }
        if spec.kernels.codes.is_some() {
            self.encode_kernel(gpu, encoder, spec, CODES);
        }
        if let Some(layout) = &spec.kernels.layout {
            for kernel in StructureBuffers::kernels(layout) {
                self.encode_kernel(gpu, encoder, spec, kernel);
            }
        }
        if let Some(words) = spec.kernels.words {
            self.encode_kernel(gpu, encoder, spec, HISTOGRAM);
            if words.has_summary() {
                self.encode_kernel(gpu, encoder, spec, SUMMARY);
            }
        }
    }

    /// Encodes one kernel, after clearing its tables.
    pub(super) fn encode_kernel(
        &self,
        gpu: &Gpu,
        encoder: &mut CommandEncoder,
        spec: &TileSpec,
        kernel: usize,
    ) {
        let structure = self.structure.as_ref().zip(spec.kernels.layout.as_ref());
        if let Some(buffers) = &self.blocks {
            match kernel {
                CODES => return buffers.count(gpu, encoder, spec),
                CORRELATION if plain_carrier(spec).is_none() => {
                    return buffers.correlate(gpu, encoder, spec, &self.keys);
                }
                _ => {}
            }
        }
        match kernel {
            HISTOGRAM => encoder.clear_buffer(&gpu.scratch.count_replicas, 0, None),
            SUMMARY => encoder.clear_buffer(&gpu.scratch.sum_replicas, 0, None),
            PAGES | WINDOWS | LOW_BITS | MAGNITUDES => {
                if let Some((buffers, layout)) = structure {
                    buffers.prepare(gpu, encoder, spec, layout, kernel);
                }
            }
            _ => {}
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        match kernel {
            CORRELATION => {
                if let (Some(buffers), Some(carrier)) = (&self.correlation, plain_carrier(spec)) {
                    buffers.dispatch(gpu, &mut pass, carrier_blocks(spec, carrier));
                }
            }
            PAGES | WINDOWS | LOW_BITS | MAGNITUDES => {
                if let Some((buffers, layout)) = structure {
                    buffers.dispatch(gpu, &mut pass, spec, layout, kernel);
                }
            }
            _ => self.count(gpu, &mut pass, spec, kernel),
        }
    }

    /// Encodes the digest kernel, or one of those that count words.
    fn count(&self, gpu: &Gpu, pass: &mut ComputePass<'_>, spec: &TileSpec, kernel: usize) {
        let compiled = &gpu.kernels[kernel];
        pass.set_bind_group(0, &self.binds[kernel], &[]);
        let words = spec.kernels.words.unwrap_or(WordFormat::Bits8);
        let (high, low) = bins(words);
        match kernel {
            DIGEST => {
                let chunks = (spec.len as u64 / CHUNK_LEN) as u32;
                dispatch(pass, compiled, "chunks", chunks.div_ceil(64));
                dispatch(pass, compiled, "blocks", (spec.len / BLOCK_LEN) as u32);
            }
            HISTOGRAM => {
                let entry = if words == WordFormat::Bits8 { "count_bytes" } else { "count_words" };
                dispatch(pass, compiled, entry, GROUPS);
                dispatch(pass, compiled, "merge", ((high + low) / 256) as u32);
            }
            _ => {
                dispatch(pass, compiled, "classes", GROUPS);
                if words.width() == 4 {
                    dispatch(pass, compiled, "merge", (BINS / 256) as u32);
                }
            }
        }
    }

    /// Encodes the copies to the read-back buffers.
    pub(super) fn download(&self, encoder: &mut CommandEncoder, spec: &TileSpec) {
        let len = results_len(spec.kernels.words);
        encoder.copy_buffer_to_buffer(&self.results, 0, &self.readback, 0, len);
        if let (Some(buffers), Some(carrier)) = (&self.correlation, plain_carrier(spec)) {
            buffers.download(encoder, carrier_blocks(spec, carrier));
        }
        if let Some(buffers) = &self.blocks {
            buffers.download(encoder, spec, &self.keys);
        }
        if let (Some(buffers), Some(layout)) = (&self.structure, &spec.kernels.layout) {
            buffers.download(encoder, spec, layout);
        }
    }

    /// Reads the results from the mapped read-back buffers.
    pub(super) fn results(&self, spec: &TileSpec) -> Result<TileMeasurement, GpuError> {
        let view = mapped(&self.readback, results_len(spec.kernels.words))?;
        let bytes: &[u8] = &view;
        let (values, _) = bytes.as_chunks::<32>();
        let blocks = values[..spec.len / BLOCK_LEN].to_vec();
        let histogram = spec.kernels.words.map(|words| {
            let (high, low) = bins(words);
            let counts = words_at(bytes, COUNTS_AT, high + low);
            let mut histogram = Histogram::new(words);
            histogram.add_counts(&counts[..high], &counts[high..]);
            histogram
        });
        let summary = spec.kernels.words.filter(|words| words.has_summary()).map(|words| {
            let rows = words_at(bytes, ROWS_AT, GROUPS as usize * ROW);
            let sums = match words.width() {
                4 => words_at(bytes, SUMS_AT, 2 * BINS),
                _ => Vec::new(),
            };
            summary(words, &rows, &sums)
        });
        drop(view);
        self.readback.unmap();
        let mut correlation = match (&self.correlation, plain_carrier(spec)) {
            (Some(buffers), Some(carrier)) => Some(buffers.results(carrier_blocks(spec, carrier))?),
            _ => None,
        };
        let mut codes = None;
        if let Some(buffers) = &self.blocks {
            codes = buffers.codes(spec)?;
            correlation = correlation.or(buffers.correlation(spec, &self.keys)?);
        }
        let structure = match (&self.structure, &spec.kernels.layout) {
            (Some(buffers), Some(layout)) => Some(buffers.results(spec, layout)?),
            _ => None,
        };
        Ok(TileMeasurement { blocks, histogram, summary, correlation, structure, codes })
    }
}

/// Returns how the elements of a tile carry chips, unless the tensor is block-quantised.
fn plain_carrier(spec: &TileSpec) -> Option<&Carrier> {
    spec.kernels.carrier.as_ref().filter(|carrier| carrier.blocks.is_none())
}

fn dispatch(pass: &mut ComputePass<'_>, kernel: &CompiledKernel, entry: &str, groups: u32) {
    pass.set_pipeline(kernel.entry(entry));
    pass.dispatch_workgroups(groups, 1, 1);
}

/// Returns how many bytes of the results are read back.
fn results_len(words: Option<WordFormat>) -> u64 {
    match words {
        None => COUNTS_AT,
        Some(words) => match words.width() {
            1 | 2 => COUNTS_AT + bins(words).0 as u64 * 4,
            4 => RESULTS_LEN,
            _ => SUMS_AT,
        },
    }
}

/// Merges the rows of all workgroups.
fn summary(words: WordFormat, rows: &[u32], sums: &[u32]) -> WordSummary {
    let wide = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    let mut total = WordSummary::new(words);
    for row in rows.as_chunks::<ROW>().0 {
        let [nan, positive, negative_infinity, zero, subnormal, negative, rest @ ..] = row;
        total.classes.merge(&ClassCounts {
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
