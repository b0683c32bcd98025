//! A second look at the few tensors that need one: where exactly are the values that stand out, how far
//! does a constant run go, does a file begin in the low bits?
//!
//! What is read again are pieces of a few hundred KiB, from files that must still be what they were.

use super::facts::TensorFacts;
use super::file_search::{EmbeddedFile, FileSearch};
use super::localization::{ConstantRun, KEPT, Localization};
use super::low_bit_stream::{BitOrder, LowBitStream};
use super::magic;
use super::pages::{ConstantPages, DuplicatePages};
use super::streams::MOSTLY_ZERO_FROM;
use rayon::prelude::*;
use tensorseal_base::dtype::{Dtype, NumberFormat};
use tensorseal_engine::measure::correlation::ElementFormat;
use tensorseal_engine::measure::pages::{PAGE_LEN, phase};
use tensorseal_engine::measure::windows::WINDOW_LEN;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_engine::stream::plan::Plan;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::{Checkpoint, Tensor};

/// Bytes that are read at once.
const PIECE_LEN: u64 = 256 << 10;

/// Elements at the start of each tensor in which files are looked for: payloads begin somewhere near.
const START_ELEMENTS: u64 = 2048;

/// Constant runs that are followed to their ends, for each tensor.
const FOLLOWED: usize = 64;

/// How far a constant run is followed.
const FARTHEST: u64 = 64 << 20;

/// Binades above the usual ones from which values are located.
const LOCATED_ABOVE: i32 = 4;

/// Looks again at every tensor that needs it.
///
/// # Errors
/// When a file cannot be read or changed, or the run is to stop.
pub fn localize(
    model: &Checkpoint,
    facts: &mut [TensorFacts],
    threads: &Threads,
    progress: &Progress,
) -> Result<(), RunError> {
    let plan = plan(model, facts);
    let files = FileSet::new(&model.files, &plan);
    let look = |facts: &mut TensorFacts| {
        let tensor = &model.tensors[facts.tensor];
        let reader = TensorReader { files: &files, tensor, progress };
        facts.seen = reader.localize(facts)?;
        files.object_done(tensor.file)?;
        Ok(())
    };
    threads.pool()?.install(|| facts.par_iter_mut().try_for_each(look))
}

/// Whether pages with equal fingerprints are equal: of values widened from 16 bits, fingerprints have 48
/// bits, and a large model has many pages.
///
/// # Errors
/// As [`localize`].
pub fn confirm(
    model: &Checkpoint,
    facts: &[TensorFacts],
    doubled: Vec<DuplicatePages>,
    progress: &Progress,
) -> Result<Vec<DuplicatePages>, RunError> {
    let plan = plan(model, facts);
    let files = FileSet::new(&model.files, &plan);
    let bytes = |(index, page): (usize, u64)| {
        let tensor = &model.tensors[facts[index].tensor];
        let start = page * PAGE_LEN - u64::from(phase(tensor.offset));
        TensorReader { files: &files, tensor, progress }.bytes(start, PAGE_LEN)
    };
    let mut confirmed = Vec::with_capacity(doubled.len());
    for run in doubled {
        // The first page speaks for its run: one that is doubled by chance stands alone.
        if bytes(run.here)? == bytes(run.there)? {
            confirmed.push(run);
        }
    }
    for facts in facts {
        files.object_done(model.tensors[facts.tensor].file)?;
    }
    Ok(confirmed)
}

/// The tensors of these facts, to be read.
fn plan(model: &Checkpoint, facts: &[TensorFacts]) -> Plan {
    Plan::from_tensors(facts.iter().map(|facts| (facts.tensor, &model.tensors[facts.tensor])))
}

struct TensorReader<'a> {
    files: &'a FileSet<'a>,
    tensor: &'a Tensor,
    progress: &'a Progress,
}

impl TensorReader<'_> {
    fn localize(&self, facts: &TensorFacts) -> Result<Localization, RunError> {
        let mut seen = Localization::default();
        let dtype = self.tensor.dtype;
        if !dtype.is_float() {
            return Ok(seen);
        }
        self.values(facts, &mut seen)?;
        if facts.pages.constant > 0 && facts.distinct > 1 {
            for run in facts.pages.runs.iter().take(FOLLOWED) {
                let stretch = self.extend_run(run)?;
                if seen.stretches.last() != Some(&stretch) {
                    seen.stretches.push(stretch);
                }
            }
        }
        if dtype == Dtype::F32 {
            seen.repeated = self.repeated()?;
        }
        if let Some(elements) =
            ElementFormat::from_dtype(dtype).filter(|elements| elements.width >= 2)
        {
            let suspicious = facts.low_bits.as_ref().is_some_and(|low| low.is_suspicious());
            // Sparse tensors have streams of their own kind, and nothing is to be met in them.
            let whole = suspicious && facts.zero_share() < MOSTLY_ZERO_FROM;
            self.files_in(&elements, whole, facts, &mut seen)?;
        }
        Ok(seen)
    }

    /// The bytes `start..start + len` of the tensor, as far as it has them.
    fn bytes(&self, start: u64, len: u64) -> Result<Vec<u8>, RunError> {
        if self.progress.stopped() {
            return Err(RunError::Interrupted);
        }
        let len = len.min(self.tensor.bytes.saturating_sub(start)) as usize;
        let mut copy = Vec::new();
        if len > 0 {
            let Tensor { file, offset, .. } = *self.tensor;
            self.files.copy_into(file, offset + start, len, &mut copy)?;
        }
        Ok(copy)
    }

    /// Share of the non-zero values at the tensor's start that occur again within their row.
    fn repeated(&self) -> Result<f64, RunError> {
        const LONGEST_ROW: u64 = 1024;
        let columns: u64 = self.tensor.storage_shape().iter().skip(1).product();
        let row = columns.clamp(1, LONGEST_ROW) as usize;
        let bytes = self.bytes(0, 4 * START_ELEMENTS)?;
        let (mut values, mut distinct) = (0, 0);
        for row in bytes.as_chunks::<4>().0.chunks(row).filter(|row| row.len() >= 64) {
            let mut words: Vec<u32> = row.iter().map(|word| u32::from_le_bytes(*word)).collect();
            words.retain(|word| word << 1 != 0);
            values += words.len();
            words.sort_unstable();
            words.dedup();
            distinct += words.len();
        }
        Ok(if values == 0 { 0.0 } else { 1.0 - distinct as f64 / values as f64 })
    }

    /// Locates values: one walk over the tensor, if anything stands out.
    fn values(&self, facts: &TensorFacts, seen: &mut Localization) -> Result<(), RunError> {
        let Some(elements) = ElementFormat::from_dtype(self.tensor.dtype) else { return Ok(()) };
        let distribution = &facts.distribution;
        let not_finite = distribution.not_finite() > 0;
        let cutoff = facts
            .exponent_excess()
            .filter(|gap| gap.binades > LOCATED_ABOVE)
            .and_then(|gap| magnitude_of(self.tensor.dtype, gap.usual + LOCATED_ABOVE));
        let mixed = facts.low_bits.as_ref().is_some_and(|low| low.has_mixed_halves(distribution));
        if !not_finite && cutoff.is_none() && !mixed {
            return Ok(());
        }
        let width = elements.width;
        let mut element = 0;
        for start in (0..self.tensor.bytes).step_by(PIECE_LEN as usize) {
            for code in self.bytes(start, PIECE_LEN)?.chunks_exact(width) {
                let mut word = [0; 4];
                word[..width].copy_from_slice(code);
                let word = u32::from_le_bytes(word);
                let magnitude = word & (elements.sign() - 1);
                if magnitude >= elements.limit {
                    seen.not_finite.add(element);
                } else if cutoff.is_some_and(|cutoff| magnitude >= cutoff) {
                    seen.above.add(element);
                }
                if mixed && word & 0xFFFF != 0 {
                    seen.full_halves.add(element);
                }
                element += 1;
            }
        }
        Ok(())
    }

    /// Follows a constant run beyond its pages, word by word.
    fn extend_run(&self, run: &ConstantPages) -> Result<ConstantRun, RunError> {
        let phase = u64::from(phase(self.tensor.offset));
        let word = run.word.to_le_bytes();
        let mut start = run.page * PAGE_LEN - phase;
        let mut end = start + run.pages * PAGE_LEN;
        let (first, last) = (start, end);
        while start > 0 && first - start < FARTHEST {
            let len = start.min(PIECE_LEN);
            let piece = self.bytes(start - len, len)?;
            let same =
                piece.rchunks_exact(4).take_while(|other| **other == word).count() as u64 * 4;
            start -= same;
            if same + 3 < len {
                break;
            }
        }
        while end < self.tensor.bytes && end - last < FARTHEST {
            let piece = self.bytes(end, PIECE_LEN)?;
            let same = piece.chunks_exact(4).take_while(|other| **other == word).count() as u64 * 4;
            end += same;
            if same + 3 < piece.len() as u64 || same == 0 {
                break;
            }
        }
        Ok(ConstantRun { start, end, word: run.word })
    }

    /// Looks for files: in all streams at the tensor's start, in its raw bytes where windows are
    /// foreign, and in the whole of it when its low bits are suspicious.
    fn files_in(
        &self,
        elements: &ElementFormat,
        whole: bool,
        facts: &TensorFacts,
        seen: &mut Localization,
    ) -> Result<(), RunError> {
        let width = elements.width;
        let start = START_ELEMENTS * width as u64;
        let most = if whole { self.tensor.bytes } else { start.min(self.tensor.bytes) };
        let mut searches = FileSearch::new(width);
        for start in (0..most).step_by(PIECE_LEN as usize) {
            searches.add(&self.bytes(start, PIECE_LEN.min(most - start))?);
        }
        let mut found = searches.found();
        let windows = facts.windows.iter().flat_map(|windows| &windows.kept);
        for window in windows.take(FOLLOWED) {
            let first = window.index * WINDOW_LEN as u64;
            let bytes = self.bytes(first * width as u64, (WINDOW_LEN * width) as u64)?;
            if let Some((at, kind)) = magic::find(&bytes) {
                let bits = 8 * width as u32;
                let stream = LowBitStream { bits, order: BitOrder::LowFirst };
                found.push(EmbeddedFile { stream, element: first + (at / width) as u64, kind });
            }
        }
        // One file shows in several streams: the one that meets it first has all of it.
        found.sort_by_key(|hidden| (hidden.element, std::cmp::Reverse(hidden.stream.bits)));
        found.dedup_by_key(|hidden| hidden.element);
        found.truncate(KEPT);
        seen.hidden = found;
        Ok(())
    }
}

/// The smallest magnitude, as bits, of values of 2^`exponent` and more.
fn magnitude_of(dtype: Dtype, exponent: i32) -> Option<u32> {
    let NumberFormat::Float(format) = dtype.number_format() else { return None };
    let field = exponent + format.bias;
    (field > 0 && field < 1 << format.exponent_bits).then(|| (field as u32) << format.mantissa_bits)
}
