//! Writes a marked copy of a model, in constant memory.
//!
//! The carrier blocks of each piece are marked while they are copied; all other bytes stay unchanged.

use super::carriers::{Carriers, MarkableBlocks};
use super::key::{DITHER_SEGMENT, WatermarkKey, dither_nonce};
use super::mark::{DITHER_BYTES, MarkChange, Rounding};
use super::payload::{Codeword, Payload, UNMODULATED};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use tensorseal_engine::measure::chips::{self, CHIP_BYTES, ChipKey};
use tensorseal_engine::measure::correlation::{CARRIER_LEN, Carrier, Correlation};
use tensorseal_engine::measure::slots::{Slot, SlotSums};
use tensorseal_engine::stream::copy::{COPY_PIECE_LEN, CopyError, CopyPiece, ModelCopy};
use tensorseal_engine::stream::plan::{ObjectKind, Plan};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::{Checkpoint, OpenError};

/// The settings of a mark to embed.
#[derive(Debug, Clone, Copy)]
pub struct MarkSettings {
    /// The payload; with `None`, every block carries +1.
    pub payload: Option<Payload>,
    /// The strength relative to the root mean square of a carrier block.
    pub alpha: f64,
    /// The minimum signal-to-noise ratio in dB, below which nothing is written; negative infinity for no minimum.
    pub min_snr_db: f64,
}

/// The result of embedding a mark.
#[derive(Debug, Clone)]
pub struct EmbeddedMark {
    /// How the carriers changed.
    pub change: MarkChange,
    /// The correlation of the key with the marked copy.
    pub sums: SlotSums,
}

/// An error while embedding a mark.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The model could not be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The copy could not be written.
    #[error(transparent)]
    Copy(CopyError),
    /// The model changed after it was opened.
    #[error(transparent)]
    Changed(#[from] OpenError),
    /// The mark changes the model more than allowed.
    #[error(
        "the mark changes the weights by more than allowed: its signal-to-noise ratio is {snr_db:.2} dB, and the minimum is {min_snr_db} dB; nothing was written"
    )]
    Loud {
        /// The measured signal-to-noise ratio in dB.
        snr_db: f64,
        /// The minimum in dB.
        min_snr_db: f64,
    },
}

impl From<CopyError> for EmbedError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::File(error) => EmbedError::Run(error.into()),
            CopyError::Interrupted => EmbedError::Run(RunError::Interrupted),
            error => EmbedError::Copy(error),
        }
    }
}

/// Writes a copy of `model` with a mark of `key` to `out`, which must not exist: a file if the model was given as a
/// file, else a directory.
///
/// # Errors
/// Returns an [`EmbedError`] if the model cannot be read or changed, if the copy cannot be written, or if the mark is
/// too strong. Nothing is left behind then.
pub fn write(
    model: &Checkpoint,
    carriers: &Carriers,
    key: &WatermarkKey,
    mark: &MarkSettings,
    out: &Path,
    threads: &Threads,
    progress: &Progress,
) -> Result<EmbeddedMark, EmbedError> {
    let marker = Embedder::new(model, carriers, key, mark);
    let plan = Plan::everything(model, false);
    progress.expect(plan.bytes());
    let pool = threads.pool()?;
    let copying = ModelCopy { model, plan: &plan, pool, progress };
    let whole =
        RefCell::new(EmbeddedMark { change: MarkChange::default(), sums: SlotSums::default() });
    copying.write(
        out,
        &|piece, bytes, buffers: &mut Buffers| marker.piece(piece, bytes, buffers),
        // The changes are added in the order of the pieces, because sums of floats depend on it.
        &mut |(change, sums)| {
            let mut whole = whole.borrow_mut();
            whole.change.merge(&change);
            whole.sums.merge(&sums);
        },
        |_| {
            let (snr_db, min_snr_db) = (whole.borrow().change.snr_db(), mark.min_snr_db);
            if snr_db < min_snr_db {
                return Err(EmbedError::Loud { snr_db, min_snr_db });
            }
            Ok(model.verify_unchanged(&[])?)
        },
    )?;
    Ok(whole.into_inner())
}

/// The state that all pieces share.
struct Embedder<'a> {
    /// The marked weights of each tensor: one, or several that follow one another.
    marked: HashMap<usize, Vec<MarkedWeight<'a>>>,
    key: ChipKey,
    word: Codeword,
    mark: MarkSettings,
}

/// A weight that is marked.
struct MarkedWeight<'a> {
    canonical: &'a str,
    /// The blocks of the weight in the tensor.
    blocks: Range<u64>,
    carrier: Carrier,
    rounding: Rounding,
    offset: u32,
    /// Whether the blocks count; those of a tied duplicate do not.
    counts: bool,
}

/// Buffers that a thread reuses.
#[derive(Default)]
struct Buffers {
    chips: Vec<u8>,
    dither: Vec<u8>,
}

impl<'a> Embedder<'a> {
    fn new(
        model: &'a Checkpoint,
        carriers: &'a Carriers,
        key: &WatermarkKey,
        mark: &MarkSettings,
    ) -> Self {
        let all = carriers.tensors.iter().filter_map(|c| Some((c.markable(model)?, c, true)));
        let tied = carriers.tied.iter().filter_map(|(tensor, first)| {
            let first = carriers.tensors.get(*first)?;
            Some((MarkableBlocks { tensor: *tensor, ..first.markable(model)? }, first, false))
        });
        let mut marked: HashMap<usize, Vec<MarkedWeight<'_>>> = HashMap::new();
        for (MarkableBlocks { tensor, first, blocks, carrier }, of, counts) in all.chain(tied) {
            let Some(rounding) = Rounding::for_dtype(model.tensors[tensor].dtype) else { continue };
            let canonical = of.canonical.as_str();
            let offset = key.block_offset(canonical);
            let blocks = first..first.saturating_add(blocks);
            let weight = MarkedWeight { canonical, blocks, carrier, rounding, offset, counts };
            marked.entry(tensor).or_default().push(weight);
        }
        marked.values_mut().for_each(|weights| weights.sort_by_key(|weight| weight.blocks.start));
        Self {
            marked,
            key: key.chips(),
            word: mark.payload.map_or(UNMODULATED, Payload::word),
            mark: *mark,
        }
    }

    /// Marks a piece, and measures the mark.
    fn piece(
        &self,
        piece: &CopyPiece<'_>,
        bytes: &mut [u8],
        buffers: &mut Buffers,
    ) -> (MarkChange, SlotSums) {
        let CopyPiece { object, start, len } = *piece;
        let (mut change, mut sums) = (MarkChange::default(), SlotSums::default());
        let ObjectKind::Tensor(tensor) = object.kind else { return (change, sums) };
        for marked in self.marked.get(&tensor).into_iter().flatten() {
            let block_bytes = marked.carrier.elements.block_bytes();
            let here = marked.carrier.block_at(start);
            let behind = here.saturating_add(len.div_ceil(block_bytes) as u64);
            let mut at = marked.blocks.start.max(here);
            let end = marked.blocks.end.min(behind);
            while at < end {
                // The dither covers one segment of the weight at a time.
                let first = at - marked.blocks.start;
                let next = (first / DITHER_SEGMENT + 1) * DITHER_SEGMENT;
                let until = end.min(marked.blocks.start.saturating_add(next));
                let byte = |block: u64| ((block - here) as usize * block_bytes).min(len);
                let part = &mut bytes[byte(at)..byte(until)];
                let (more, slots) = self.blocks(marked, first, part, buffers);
                change.merge(&more);
                sums.merge(&slots);
                at = until;
            }
        }
        (change, sums)
    }

    /// Marks consecutive blocks of a weight.
    fn blocks(
        &self,
        marked: &MarkedWeight<'_>,
        first: u64,
        bytes: &mut [u8],
        buffers: &mut Buffers,
    ) -> (MarkChange, SlotSums) {
        let (mut change, mut sums) = (MarkChange::default(), SlotSums::default());
        let block_bytes = marked.carrier.elements.block_bytes();
        let blocks = bytes.len().div_ceil(block_bytes);
        buffers.chips.resize(blocks * CHIP_BYTES, 0);
        chips::fill(&self.key, &marked.carrier.nonce, first, &mut buffers.chips);
        self.dither(marked.canonical, first, blocks, &mut buffers.dither);
        let chips = buffers.chips.as_chunks().0.iter().zip(buffers.dither.as_chunks().0);
        for ((block, part), (chips, dither)) in
            (first..).zip(bytes.chunks_mut(block_bytes)).zip(chips)
        {
            let sign = match Slot::for_block(block, marked.offset) {
                Slot::Pilot => 1,
                Slot::Bit(bit) => self.word[bit],
            };
            let strength = self.mark.alpha * f64::from(sign);
            change.merge(&marked.rounding.mark(part, chips, dither, strength));
        }
        if !marked.counts {
            return (MarkChange::default(), sums);
        }
        let mut correlation = Correlation::new(1);
        let key = std::slice::from_ref(&self.key);
        correlation.add(&marked.carrier, key, first, bytes);
        for row in &correlation.sums {
            sums.add(marked.offset, first, &correlation.energies, row);
        }
        (change, sums)
    }

    /// Generates the dither of consecutive blocks.
    fn dither(&self, canonical: &str, first: u64, blocks: usize, dither: &mut Vec<u8>) {
        const STREAM_BLOCKS: u64 = (DITHER_BYTES / CHIP_BYTES) as u64;
        dither.resize(blocks * DITHER_BYTES, 0);
        let (segment, block) = (first / DITHER_SEGMENT, first % DITHER_SEGMENT);
        let nonce = dither_nonce(canonical, segment);
        chips::fill(&self.key, &nonce, block * STREAM_BLOCKS, dither);
    }
}

const _: () = assert!(COPY_PIECE_LEN.is_multiple_of(4 * CARRIER_LEN as u64));
const _: () = assert!((DITHER_SEGMENT * CARRIER_LEN as u64).is_multiple_of(COPY_PIECE_LEN));
