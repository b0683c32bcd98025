//! The kernels that measure the structure of a tile: `pages`, `windows`, `low_bits` and `magnitudes`.

use super::buffers::{READ_BACK, RETURNED, buffer, mapped, words_at};
use super::device::Gpu;
use super::error::GpuError;
use super::pipelines::{LOW_BITS, MAGNITUDES, PAGES, WINDOWS};
use super::spec::TileSpec;
use crate::measure::low_bits::{self, BitCounts, COUNTED, WIDTHS};
use crate::measure::magnitudes;
use crate::measure::pages::{PAGE_LEN, PageState};
use crate::measure::structure::{Structure, StructureLayout};
use crate::measure::windows::{self, CLASSES, WINDOW_LEN};
use crate::measure::{BLOCK_LEN, TILE_LEN};
use bytemuck::{Pod, Zeroable};
use std::num::NonZeroU64;
use wgpu::{
    BindGroup, BindingResource, Buffer, BufferBinding, BufferUsages, CommandEncoder, ComputePass,
};

/// The work of one workgroup: pages, windows, parts of a block, bytes of the tile and rows of a column.
const PAGES_A_GROUP: usize = 4;
const WINDOWS_A_GROUP: usize = 4;
const PARTS_A_BLOCK: usize = 16;
const ROWS_STRETCH: usize = 32 << 10;
const ROWS_A_THREAD: usize = 64;
const THREADS: usize = 256;

/// The number of bytes that the kernels return for a page, a window, all byte values and a block.
const PAGE_RESULT: usize = 16;
const WINDOW_RESULT: usize = 2 * CLASSES;
const BYTES_RESULT: usize = COUNTED * 256 * 4;
const BLOCK_RESULT: usize = WIDTHS.len() * 3 * 4;

/// Where each kernel writes in the results, in bytes. Bindings begin at multiples of 256. A tile that does
/// not begin with a page touches one page more. Elements have at least one byte.
const PAGES_AT: usize = 0;
const WINDOWS_AT: usize = ((TILE_LEN / PAGE_LEN as usize + 1) * PAGE_RESULT).next_multiple_of(256);
const BYTES_AT: usize = WINDOWS_AT + (TILE_LEN / WINDOW_LEN * WINDOW_RESULT).next_multiple_of(256);
const BLOCKS_AT: usize = BYTES_AT + BYTES_RESULT.next_multiple_of(256);
const RESULTS_LEN: usize = BLOCKS_AT + TILE_LEN / BLOCK_LEN * BLOCK_RESULT;

/// The parameters of the kernels: `StructureParams` in `shaders/include/structure.wgsl`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct StructureParams {
    units: u32,
    head: u32,
    width: u32,
    mantissa_bits: u32,
    limit: u32,
    columns: u32,
    first_column: u32,
    rows: u32,
    thresholds: [u32; 12],
}

/// The numbers of pages, windows, blocks, rows and columns in a tile.
struct TileExtent {
    params: StructureParams,
    pages: usize,
    windows: usize,
    /// The number of blocks whose low bits are measured.
    blocks: usize,
    rows: usize,
    columns: usize,
}

impl TileExtent {
    fn of(spec: &TileSpec, layout: &StructureLayout) -> Self {
        let head = (u64::from(layout.phase) + spec.offset) % PAGE_LEN;
        let mut params = StructureParams {
            units: (spec.len / 16) as u32,
            head: (head / 4) as u32,
            thresholds: [u32::MAX; 12],
            ..Zeroable::zeroed()
        };
        let pages = (head as usize + spec.len).div_ceil(PAGE_LEN as usize);
        let (mut windows, mut blocks, mut rows) = (0, 0, 0);
        if let Some(elements) = &layout.elements {
            let count = spec.len / elements.width;
            windows = count / WINDOW_LEN;
            if low_bits::has_streams(elements) {
                blocks = spec.len / BLOCK_LEN;
            }
            if layout.columns > 0 {
                let first = spec.offset / elements.width as u64 % u64::from(layout.columns);
                params.first_column = first as u32;
                rows = (first as usize + count).div_ceil(layout.columns as usize);
            }
            params.width = elements.width as u32;
            params.mantissa_bits = elements.mantissa_bits;
            params.limit = elements.limit;
            params.columns = layout.columns;
            params.rows = rows as u32;
            params.thresholds[..CLASSES - 1].copy_from_slice(&windows::thresholds(elements));
        }
        let columns = if rows > 0 { layout.columns as usize } else { 0 };
        Self { params, pages, windows, blocks, rows, columns }
    }

    /// Returns the size of the sums of rows and columns in bytes.
    fn sums_len(&self) -> u64 {
        4 * (self.rows + self.columns) as u64
    }

    /// Returns the offset and length of each part of the results that the tile has.
    fn parts(&self) -> [(u64, u64); 3] {
        let (bytes, blocks) = match self.blocks {
            0 => (0, 0),
            blocks => (BYTES_RESULT, blocks * BLOCK_RESULT),
        };
        // Byte values and blocks are adjacent.
        debug_assert_eq!(BYTES_AT + BYTES_RESULT, BLOCKS_AT);
        [
            (PAGES_AT, self.pages * PAGE_RESULT),
            (WINDOWS_AT, self.windows * WINDOW_RESULT),
            (BYTES_AT, bytes + blocks),
        ]
        .map(|(at, len)| (at as u64, len as u64))
    }
}

/// The buffers of the sums of rows and columns, as large as the largest tile so far needed.
struct RowColumnBuffers {
    sums: Buffer,
    readback: Buffer,
    bind: BindGroup,
}

/// The buffers for the structure of a tile, created only for runs that request it.
pub(super) struct StructureBuffers {
    results: Buffer,
    readback: Buffer,
    params: Buffer,
    binds: [BindGroup; 3],
    sums: Option<RowColumnBuffers>,
}

impl StructureBuffers {
    /// Creates the buffers for tiles in `tile`.
    pub(super) fn new(gpu: &Gpu, tile: &Buffer) -> Self {
        let device = &gpu.device;
        let results = buffer(device, RESULTS_LEN as u64, RETURNED);
        let readback = buffer(device, RESULTS_LEN as u64, READ_BACK);
        let usage = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        let params = buffer(device, size_of::<StructureParams>() as u64, usage);
        let part = |start: usize, end: usize| {
            let size = NonZeroU64::new((end - start) as u64);
            BindingResource::Buffer(BufferBinding { buffer: &results, offset: start as u64, size })
        };
        let (tile, params_binding) = (tile.as_entire_binding(), params.as_entire_binding());
        let keys = gpu.scratch.page_keys.as_entire_binding();
        let pages = [tile.clone(), keys, part(PAGES_AT, WINDOWS_AT), params_binding.clone()];
        let windows = [tile.clone(), part(WINDOWS_AT, BYTES_AT), params_binding.clone()];
        let low_bits =
            [tile, part(BYTES_AT, BLOCKS_AT), part(BLOCKS_AT, RESULTS_LEN), params_binding];
        let binds = [
            gpu.kernels[PAGES].bind(device, &pages),
            gpu.kernels[WINDOWS].bind(device, &windows),
            gpu.kernels[LOW_BITS].bind(device, &low_bits),
        ];
        Self { results, readback, params, binds, sums: None }
    }

    /// Enlarges the buffers for the sums of a tile if necessary.
    ///
    /// # Errors
    /// Returns a [`GpuError`] if the rows are shorter or longer than those that are measured.
    pub(super) fn fit(
        &mut self,
        gpu: &Gpu,
        tile: &Buffer,
        spec: &TileSpec,
        layout: &StructureLayout,
    ) -> Result<(), GpuError> {
        let extent = TileExtent::of(spec, layout);
        if extent.rows == 0 {
            return Ok(());
        }
        if !magnitudes::COLUMNS.contains(&u64::from(layout.columns)) {
            let text = format!("rows of {} elements are not measured", layout.columns);
            return Err(GpuError::Failed(text));
        }
        let len = extent.sums_len();
        if self.sums.as_ref().is_some_and(|sums| sums.sums.size() >= len) {
            return Ok(());
        }
        let device = &gpu.device;
        let sums = buffer(device, len.next_power_of_two(), RETURNED);
        let readback = buffer(device, sums.size(), READ_BACK);
        let resources = [&sums, &self.params].map(Buffer::as_entire_binding);
        let [sums_all, params_binding] = resources;
        let bind = gpu.kernels[MAGNITUDES]
            .bind(device, &[tile.as_entire_binding(), sums_all, params_binding]);
        self.sums = Some(RowColumnBuffers { sums, readback, bind });
        Ok(())
    }

    /// Returns the buffers that the host reads after this tile.
    pub(super) fn readbacks(&self, layout: &StructureLayout) -> impl Iterator<Item = &Buffer> {
        let measured = layout.elements.is_some() && layout.columns > 0;
        let sums = self.sums.as_ref().filter(|_| measured);
        std::iter::once(&self.readback).chain(sums.map(|sums| &sums.readback))
    }

    /// Writes the parameters of the kernels.
    pub(super) fn set_params(&self, gpu: &Gpu, spec: &TileSpec, layout: &StructureLayout) {
        let params = TileExtent::of(spec, layout).params;
        gpu.queue.write_buffer(&self.params, 0, bytemuck::bytes_of(&params));
    }

    /// Returns the kernels that measure a tile of this layout.
    pub(super) fn kernels(layout: &StructureLayout) -> impl Iterator<Item = usize> {
        let elements = layout.elements.as_ref();
        [
            (PAGES, true),
            (WINDOWS, elements.is_some()),
            (LOW_BITS, elements.is_some_and(low_bits::has_streams)),
            (MAGNITUDES, elements.is_some() && layout.columns > 0),
        ]
        .into_iter()
        .filter_map(|(kernel, is_measured)| is_measured.then_some(kernel))
    }

    /// Encodes the initialisation of results: ones where the kernel writes, zeros where it adds.
    pub(super) fn prepare(
        &self,
        gpu: &Gpu,
        encoder: &mut CommandEncoder,
        spec: &TileSpec,
        layout: &StructureLayout,
        kernel: usize,
    ) {
        let extent = TileExtent::of(spec, layout);
        let [pages, windows, low_bits] = extent.parts();
        match (kernel, &self.sums) {
            (PAGES, _) => gpu.scratch.poison.fill(encoder, &self.results, pages.0, pages.1),
            (WINDOWS, _) => gpu.scratch.poison.fill(encoder, &self.results, windows.0, windows.1),
            (LOW_BITS, _) => encoder.clear_buffer(&self.results, low_bits.0, Some(low_bits.1)),
            (_, Some(sums)) => encoder.clear_buffer(&sums.sums, 0, Some(extent.sums_len())),
            _ => {}
        }
    }

    /// Encodes one kernel.
    pub(super) fn dispatch(
        &self,
        gpu: &Gpu,
        pass: &mut ComputePass<'_>,
        spec: &TileSpec,
        layout: &StructureLayout,
        kernel: usize,
    ) {
        let extent = TileExtent::of(spec, layout);
        let compiled = &gpu.kernels[kernel];
        let mut dispatch = |bind: &BindGroup, entry: &str, x: usize, y: usize| {
            pass.set_bind_group(0, bind, &[]);
            pass.set_pipeline(compiled.entry(entry));
            pass.dispatch_workgroups(x as u32, y as u32, 1);
        };
        let [pages, windows, low_bits] = &self.binds;
        match (kernel, &self.sums) {
            (PAGES, _) => dispatch(pages, "fingerprint", extent.pages.div_ceil(PAGES_A_GROUP), 1),
            (WINDOWS, _) => dispatch(windows, "classes", extent.windows / WINDOWS_A_GROUP, 1),
            (LOW_BITS, _) => dispatch(low_bits, "streams", extent.blocks * PARTS_A_BLOCK, 1),
            (_, Some(sums)) => {
                dispatch(&sums.bind, "rows", spec.len / ROWS_STRETCH, 1);
                let rows_at_once = (THREADS / extent.columns.max(1)).max(1);
                let stretches = extent.rows.div_ceil(ROWS_A_THREAD * rows_at_once);
                dispatch(&sums.bind, "columns", extent.columns.div_ceil(THREADS), stretches);
            }
            _ => {}
        }
    }

    /// Encodes the copies to the read-back buffers.
    pub(super) fn download(
        &self,
        encoder: &mut CommandEncoder,
        spec: &TileSpec,
        layout: &StructureLayout,
    ) {
        let extent = TileExtent::of(spec, layout);
        for (at, len) in extent.parts() {
            encoder.copy_buffer_to_buffer(&self.results, at, &self.readback, at, len);
        }
        if let Some(sums) = self.sums.as_ref().filter(|_| extent.rows > 0) {
            encoder.copy_buffer_to_buffer(&sums.sums, 0, &sums.readback, 0, extent.sums_len());
        }
    }

    /// Reads the results from the mapped read-back buffers.
    pub(super) fn results(
        &self,
        spec: &TileSpec,
        layout: &StructureLayout,
    ) -> Result<Structure, GpuError> {
        let extent = TileExtent::of(spec, layout);
        let mut structure = Structure::for_range(layout, spec.offset, spec.len as u64);
        let view = mapped(&self.readback, RESULTS_LEN as u64)?;
        let words = |at: usize, bytes: usize| words_at(&view, at as u64, bytes / 4);
        let pages = words(PAGES_AT, extent.pages * PAGE_RESULT);
        for (page, words) in structure.pages.pages.iter_mut().zip(pages.as_chunks().0) {
            let [low, high, word, state] = *words;
            page.fingerprint = u64::from(high) << 32 | u64::from(low);
            page.word = word;
            page.state = match state {
                1 => PageState::Constant,
                2 => PageState::Mixed,
                _ => PageState::Unseen,
            };
        }
        if let Some(windows) = &mut structure.windows {
            let words = words(WINDOWS_AT, extent.windows * WINDOW_RESULT);
            for (window, words) in
                windows.windows.iter_mut().zip(words.as_chunks::<{ CLASSES / 2 }>().0)
            {
                for (counts, word) in window.as_chunks_mut::<2>().0.iter_mut().zip(words) {
                    *counts = [*word as u16, (*word >> 16) as u16];
                }
            }
        }
        if let Some(low_bits) = &mut structure.low_bits {
            let counts = words(BYTES_AT, BYTES_RESULT);
            for (stream, counts) in low_bits.bytes.iter_mut().zip(counts.as_chunks::<256>().0) {
                *stream = counts.map(u64::from);
            }
            let words = words(BLOCKS_AT, extent.blocks * BLOCK_RESULT);
            let bits = words.as_chunks().0.iter().map(|[ones, lag1, lag8]| BitCounts {
                ones: *ones,
                lag1: *lag1,
                lag8: *lag8,
            });
            for (bits, words) in low_bits.blocks.as_flattened_mut().iter_mut().zip(bits) {
                *bits = words;
            }
        }
        drop(view);
        self.readback.unmap();
        if let (Some(magnitudes), Some(sums)) = (&mut structure.magnitudes, &self.sums) {
            let view = mapped(&sums.readback, extent.sums_len())?;
            magnitudes.rows = words_at(&view, 0, extent.rows);
            magnitudes.columns = words_at(&view, 4 * extent.rows as u64, extent.columns);
            drop(view);
            sums.readback.unmap();
        }
        Ok(structure)
    }
}
