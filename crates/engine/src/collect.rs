//! Merges the measurements of tiles to those of their objects. Tiles may come from any engine and in any
//! order.

use crate::measure::codes::CodeCounts;
use crate::measure::correlation::Correlation;
use crate::measure::digest::{self, ChainingValue};
use crate::measure::histogram::Histogram;
use crate::measure::slots::SlotSums;
use crate::measure::structure::Structure;
use crate::measure::summary::WordSummary;
use crate::measure::{BLOCK_LEN, TileMeasurement, WordFormat};
use crate::stream::plan::{Object, Plan};
use crate::stream::queue::Tile;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

/// The measurements of one whole object.
#[derive(Debug)]
pub struct ObjectMeasurement<'a> {
    /// The index into [`Plan::objects`].
    pub object: usize,
    /// The BLAKE3 digest of the bytes.
    pub digest: ChainingValue,
    /// The chaining values of the 1 MiB blocks; empty if there are fewer than two.
    pub blocks: Vec<ChainingValue>,
    /// The counts of the words, if requested.
    pub histogram: Option<&'a Histogram>,
    /// The summary of the words, if requested and the words have 32 bits or more.
    pub summary: Option<&'a WordSummary>,
    /// The sums of correlations for each key of the plan; empty if the object is no carrier.
    pub slots: Vec<SlotSums>,
    /// The structure, if requested.
    pub structure: Option<Structure>,
    /// The counts of codes and scale words of a block-quantised tensor, if requested.
    pub codes: Option<CodeCounts>,
}

/// The digest of a tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TileDigest {
    /// The digest of an object of at most one block, which is a single tile.
    Whole(ChainingValue),
    /// The chaining values of the blocks of the tile.
    Blocks(Vec<ChainingValue>),
}

/// The merged measurements of an object that is not finished.
#[derive(Debug)]
pub struct Accumulator {
    blocks: Vec<ChainingValue>,
    whole: Option<ChainingValue>,
    parts: MergedMeasurements,
}

/// The merged measurements of an object, without its digest.
#[derive(Debug, Default)]
pub struct MergedMeasurements {
    /// The counting tables, if words are counted.
    pub tables: Option<ObjectTables>,
    /// The sums of correlations for each key.
    pub slots: Vec<SlotSums>,
    /// The structure, if it is measured.
    pub structure: Option<Structure>,
    /// The counts of codes and scales, if blocks are counted.
    pub codes: Option<CodeCounts>,
    /// By key: the offset that determines which block carries which slot.
    offsets: Vec<u32>,
}

impl MergedMeasurements {
    /// Adds the correlations of consecutive carrier blocks, beginning with block `first` of the tensor.
    pub fn correlate(&mut self, first: u64, correlation: &Correlation) {
        let keys = self.slots.iter_mut().zip(&self.offsets).zip(&correlation.sums);
        for ((slots, offset), sums) in keys {
            slots.add(*offset, first, &correlation.energies, sums);
        }
    }
}

/// The counting tables of one object.
#[derive(Debug)]
pub struct ObjectTables {
    /// The counts of the words.
    pub histogram: Histogram,
    /// The summary of the words, if they have 32 bits or more.
    pub summary: Option<WordSummary>,
}

impl ObjectTables {
    fn new(words: WordFormat) -> Self {
        Self {
            histogram: Histogram::new(words),
            summary: words.has_summary().then(|| WordSummary::new(words)),
        }
    }

    fn clear(&mut self) {
        self.histogram.clear();
        if let Some(summary) = &mut self.summary {
            summary.clear();
        }
    }
}

/// The number of tables that are kept for the next objects of the same word format; more are freed.
const POOLED: usize = 8;

type SharedAccumulator = Mutex<(u64, Option<Box<Accumulator>>)>;

/// Merges the measurements of tiles, and calls `finish` once for every object, from the thread that
/// measured its last tile.
pub struct Collector<'a> {
    plan: &'a Plan,
    slots: Vec<SharedAccumulator>,
    pool: Mutex<HashMap<WordFormat, Vec<ObjectTables>>>,
    finish: &'a (dyn Fn(ObjectMeasurement<'_>) + Sync),
    finished: AtomicUsize,
}

impl<'a> Collector<'a> {
    /// Creates a collector for the objects of `plan`, of which nothing is measured yet.
    pub fn new(plan: &'a Plan, finish: &'a (dyn Fn(ObjectMeasurement<'_>) + Sync)) -> Self {
        let slots = plan.objects.iter().map(|object| Mutex::new((object.bytes, None))).collect();
        Self { plan, slots, pool: Mutex::default(), finish, finished: AtomicUsize::new(0) }
    }

    /// Adds a tile. `merge` adds its measurements other than the digest to those of the object. Returns
    /// whether this was the last tile of the object.
    ///
    /// # Panics
    /// Panics if the tile does not belong to the plan, or was added before.
    pub fn add(
        &self,
        tile: Tile,
        digest: TileDigest,
        merge: impl FnOnce(&mut MergedMeasurements),
    ) -> bool {
        let object = &self.plan.objects[tile.object];
        let mut slot = self.slots[tile.object].lock().unwrap_or_else(PoisonError::into_inner);
        let open = slot.1.get_or_insert_with(|| Box::new(self.open(object)));
        match digest {
            TileDigest::Whole(value) => open.whole = Some(value),
            TileDigest::Blocks(values) => {
                let first = (tile.start / BLOCK_LEN as u64) as usize;
                open.blocks[first..first + values.len()].copy_from_slice(&values);
            }
        }
        merge(&mut open.parts);
        slot.0 -= tile.len as u64;
        if slot.0 > 0 {
            return false;
        }
        let done = slot.1.take();
        drop(slot);
        if let Some(done) = done {
            self.close(tile.object, object, *done);
        }
        true
    }

    /// Adds a tile with all its measurements. Returns whether this was the last tile of the object.
    pub fn add_measured(&self, tile: Tile, measured: TileMeasurement) -> bool {
        let TileMeasurement { blocks, histogram, summary, correlation, structure, codes } =
            measured;
        let kernels = self.plan.kernels_for(&self.plan.objects[tile.object]);
        self.add(tile, TileDigest::Blocks(blocks), |parts| {
            if let Some(tables) = &mut parts.tables {
                if let Some(histogram) = &histogram {
                    tables.histogram.merge(histogram);
                }
                if let (Some(sum), Some(part)) = (&mut tables.summary, &summary) {
                    sum.merge(part);
                }
            }
            if let (Some(carrier), Some(correlation)) = (kernels.carrier, &correlation) {
                parts.correlate(carrier.block_at(tile.start), correlation);
            }
            if let (Some(whole), Some(part)) = (&mut parts.structure, &structure) {
                whole.merge(part);
            }
            if let (Some(whole), Some(part)) = (&mut parts.codes, &codes) {
                whole.merge(part);
            }
        })
    }

    /// Returns whether every object of the plan has been finished.
    pub fn is_complete(&self) -> bool {
        self.finished.load(SeqCst) == self.plan.objects.len()
    }

    fn open(&self, object: &Object) -> Accumulator {
        let count = digest::block_count(object.bytes) as usize;
        let tables = object.words.map(|words| {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            pool.get_mut(&words).and_then(Vec::pop).unwrap_or_else(|| ObjectTables::new(words))
        });
        let blocks = if count > 1 { vec![[0; 32]; count] } else { Vec::new() };
        let planned = object.carrier.and_then(|index| self.plan.carriers.get(index));
        let offsets = planned.map(|planned| planned.offsets.clone()).unwrap_or_default();
        let slots = vec![SlotSums::default(); offsets.len()];
        let structure = object.layout.map(|layout| Structure::for_range(&layout, 0, object.bytes));
        let codes = object.codes.map(CodeCounts::new);
        let parts = MergedMeasurements { tables, slots, structure, codes, offsets };
        Accumulator { blocks, whole: None, parts }
    }

    fn close(&self, index: usize, object: &Object, done: Accumulator) {
        let Accumulator {
            blocks,
            whole,
            parts: MergedMeasurements { tables, slots, structure, codes, .. },
        } = done;
        let digest = whole
            .or_else(|| digest::root(&blocks, object.bytes))
            .expect("an object has one digest or all of its blocks");
        (self.finish)(ObjectMeasurement {
            object: index,
            digest,
            blocks,
            histogram: tables.as_ref().map(|tables| &tables.histogram),
            summary: tables.as_ref().and_then(|tables| tables.summary.as_ref()),
            slots,
            structure,
            codes,
        });
        self.finished.fetch_add(1, SeqCst);
        if let (Some(mut tables), Some(words)) = (tables, object.words) {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = pool.entry(words).or_default();
            if kept.len() < POOLED {
                tables.clear();
                kept.push(tables);
            }
        }
    }
}
