//! The CPU engine: one worker per thread, which runs all kernels over the same private copy of each piece.

use super::collect::TileDigest;
use super::cross_check::CrossCheckOutcome;
use super::error::RunError;
use super::run_state::RunState;
use crate::measure::codes::CodeCounts;
use crate::measure::correlation::Correlation;
use crate::measure::digest::ChainingValue;
use crate::measure::histogram::CounterTable;
use crate::measure::structure::Structure;
use crate::measure::summary::WordSummary;
use crate::measure::{BLOCK_LEN, WordFormat, owned_bytes};
use crate::stream::plan::Object;
use crate::stream::queue::Tile;
use crate::stream::source::{ByteSource, PIECE_LEN};
use blake3::hazmat::HasherExt;
use std::collections::HashMap;
use std::sync::Arc;
use tensorseal_base::dtype::Dtype;

/// How many bytes ahead of a worker the system is asked to read: what a fast disk delivers in a few
/// milliseconds.
const READ_AHEAD: usize = 32 << 20;

/// The tables and buffers of one thread.
pub struct Worker<'a> {
    shared: &'a RunState<'a>,
    table: CounterTable,
    summaries: HashMap<WordFormat, WordSummary>,
    codes: HashMap<Dtype, CodeCounts>,
    correlation: Correlation,
    /// The structure of the current tile.
    structure: Option<Structure>,
    /// A piece and its halo.
    piece: Vec<u8>,
    /// The number of bytes at the start of `piece` that were read as the halo of the previous piece.
    ahead: usize,
}

impl<'a> Worker<'a> {
    /// Creates a worker on the queue of `shared`.
    pub(super) fn new(shared: &'a RunState<'a>) -> Self {
        Self {
            shared,
            table: CounterTable::new(),
            summaries: HashMap::new(),
            codes: HashMap::new(),
            correlation: Correlation::new(shared.plan.keys.len()),
            structure: None,
            piece: Vec::new(),
            ahead: 0,
        }
    }

    /// Measures tiles until there are no more, or the run fails.
    pub(super) fn work(&mut self) {
        let mut batch = Vec::new();
        loop {
            self.shared.queue.next_cpu(&mut batch);
            if batch.is_empty() {
                return;
            }
            for tile in &batch {
                if let Err(error) = self.measure(*tile) {
                    return self.shared.fail(error);
                }
            }
        }
    }

    fn measure(&mut self, tile: Tile) -> Result<(), RunError> {
        self.shared.check_interrupt()?;
        let object = self.shared.plan.objects[tile.object];
        if self.shared.cross_check.selects(&object, tile) {
            return self.measure_twice(tile, &object);
        }
        if self.shared.needs_copy(object.file) {
            let copy = self.shared.copy(tile)?;
            return self.measure_from(tile, &object, &PrivateCopy(copy), 0);
        }
        let source = self.shared.files.source(object.file)?;
        let position = object.offset + tile.start;
        if tile.len >= BLOCK_LEN {
            // The other workers have the tiles right after this one.
            source.read_ahead(position, READ_AHEAD);
        }
        self.measure_from(tile, &object, source.as_ref(), position)
    }

    /// Measures a tile whose bytes are at `position` of `source`.
    fn measure_from(
        &mut self,
        tile: Tile,
        object: &Object,
        source: &dyn ByteSource,
        position: u64,
    ) -> Result<(), RunError> {
        self.structure =
            object.layout.map(|layout| Structure::for_range(&layout, tile.start, tile.len as u64));
        self.ahead = 0;
        let mut blocks = Vec::with_capacity(tile.len.div_ceil(BLOCK_LEN));
        let mut whole = None;
        let single = object.bytes <= BLOCK_LEN as u64;
        let mut done = 0;
        while done < tile.len || (single && whole.is_none()) {
            let len = (tile.len - done).min(BLOCK_LEN);
            let mut hasher = blake3::Hasher::new();
            let start = tile.start + done as u64;
            hasher.set_input_offset(start);
            self.read_block(object, source, position + done as u64, start, len, &mut hasher)?;
            if single {
                whole = Some(*hasher.finalize().as_bytes());
            } else {
                blocks.push(hasher.finalize_non_root());
            }
            done += len;
        }
        self.finish(tile, object, blocks, whole)
    }

    /// Feeds one block, which begins `start` bytes into its object, to the hasher and to the other kernels.
    fn read_block(
        &mut self,
        object: &Object,
        source: &dyn ByteSource,
        position: u64,
        start: u64,
        len: usize,
        hasher: &mut blake3::Hasher,
    ) -> Result<(), RunError> {
        let shared = self.shared;
        let name_error = |error| RunError::from(shared.files.name_error(object.file, error));
        let kernels = shared.plan.kernels_for(object);
        if kernels.is_digest_only() {
            // A single kernel reads each byte only once, so no copy is needed.
            let mut sink = |bytes: &[u8]| {
                hasher.update(bytes);
            };
            return source.read(position, len, &mut sink).map_err(name_error);
        }
        let mut summary = kernels
            .words
            .filter(|words| words.has_summary())
            .map(|words| self.summaries.entry(words).or_insert_with(|| WordSummary::new(words)));
        let mut codes = kernels
            .codes
            .map(|dtype| self.codes.entry(dtype).or_insert_with(|| CodeCounts::new(dtype)));
        let (table, all, ahead) = (&mut self.table, &mut self.piece, &mut self.ahead);
        let mut done = 0;
        while done < len {
            let next = (len - done).min(PIECE_LEN);
            let start = start + done as u64;
            // The halo of the last piece is the start of this one and is not read again.
            let halo = shared.plan.halo(object, start + next as u64);
            all.truncate(*ahead);
            let (from, more) = (position + (done + *ahead) as u64, next + halo - *ahead);
            source
                .read(from, more, &mut |bytes| all.extend_from_slice(bytes))
                .map_err(name_error)?;
            let piece = &all[..next];
            hasher.update(piece);
            if let Some(words) = kernels.words {
                table.count(words, piece);
            }
            if let Some(summary) = &mut summary {
                summary.add(piece);
            }
            if let Some(carrier) = &kernels.carrier {
                let first = carrier.block_at(start);
                let owned = owned_bytes(carrier.blocks, all, next, start);
                self.correlation.add(carrier, &shared.plan.keys, first, owned);
            }
            if let Some(codes) = &mut codes {
                codes.add(owned_bytes(kernels.codes, all, next, start));
            }
            if let (Some(structure), Some(layout)) = (&mut self.structure, &kernels.layout) {
                structure.add(layout, start, piece);
            }
            all.copy_within(next.., 0);
            *ahead = halo;
            done += next;
        }
        Ok(())
    }

    fn finish(
        &mut self,
        tile: Tile,
        object: &Object,
        blocks: Vec<ChainingValue>,
        whole: Option<ChainingValue>,
    ) -> Result<(), RunError> {
        let digest = whole.map_or(TileDigest::Blocks(blocks), TileDigest::Whole);
        let (table, summaries, correlation, codes) =
            (&mut self.table, &mut self.summaries, &mut self.correlation, &mut self.codes);
        let kernels = self.shared.plan.kernels_for(object);
        let structure = self.structure.take();
        let last = self.shared.collector.add(tile, digest, |parts| {
            if let (Some(words), Some(tables)) = (kernels.words, &mut parts.tables) {
                table.drain_into(words, &mut tables.histogram);
                if let (Some(sum), Some(part)) = (&mut tables.summary, summaries.get_mut(&words)) {
                    sum.merge(part);
                    part.clear();
                }
            }
            if let Some(carrier) = kernels.carrier {
                parts.correlate(carrier.block_at(tile.start), correlation);
                correlation.clear();
            }
            if let (Some(whole), Some(part)) = (&mut parts.structure, &structure) {
                whole.merge(part);
            }
            if let (Some(whole), Some(dtype)) = (&mut parts.codes, kernels.codes)
                && let Some(part) = codes.get_mut(&dtype)
            {
                whole.merge(part);
                part.clear();
            }
        });
        self.shared.tile_done(tile, object, last, false)
    }

    /// Measures one copy on both engines and compares the results (`--cross-check`).
    fn measure_twice(&mut self, tile: Tile, object: &Object) -> Result<(), RunError> {
        let copy = self.shared.copy(tile)?;
        let measured = self.shared.measure_copy(&copy, tile, object);
        let (check, plan) = (&self.shared.cross_check, self.shared.plan);
        if let CrossCheckOutcome::Disagree(adapter) =
            check.compare_on_device(&copy, tile, object, &measured, plan)?
        {
            return Err(self.shared.disagreement(adapter, tile, object));
        }
        let last = self.shared.collector.add_measured(tile, measured);
        self.shared.tile_done(tile, object, last, false)
    }
}

/// A private copy as a [`ByteSource`], so that all tiles are measured in the same way.
struct PrivateCopy(Arc<Vec<u8>>);

impl ByteSource for PrivateCopy {
    fn read(
        &self,
        offset: u64,
        len: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), crate::stream::source::ReadError> {
        let start = offset as usize;
        sink(&self.0[start..start + len]);
        Ok(())
    }
}
