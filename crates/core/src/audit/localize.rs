//! A second look at the few tensors that need one: it locates the values that stand out, the ends of constant runs and
//! files that begin in the low bits.
//!
//! Pieces of a few hundred KiB are read again, from files that must not have changed.

use super::facts::TensorFacts;
use super::file_search::{EmbeddedFile, FileSearch};
use super::localization::{ConstantRun, Localization, MAX_KEPT};
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

/// The number of bytes that are read at once.
const PIECE_LEN: u64 = 256 << 10;

/// The number of elements at the start of each tensor that are searched for files: payloads usually begin there.
const START_ELEMENTS: u64 = 2048;

/// The number of constant runs, and of foreign windows, that are examined in each tensor.
const MAX_FOLLOWED: usize = 64;

/// How far in bytes a constant run is followed in each direction.
const MAX_DISTANCE: u64 = 64 << 20;

/// The number of binades above the usual values from which values are located.
const LOCATED_ABOVE: i32 = 4;

/// Takes a second look at every tensor that needs one, and stores the result in [`TensorFacts::localization`].
///
/// # Errors
/// Returns an error if a file cannot be read or changed, or if the run was interrupted.
pub fn localize(
    model: &Checkpoint,
    facts: &mut [TensorFacts],
    threads: &Threads,
    progress: &Progress,
) -> Result<(), RunError> {
    let plan = plan(model, facts);
    let files = FileSet::new(&model.files, &plan);
    let localize_tensor = |facts: &mut TensorFacts| {
        let tensor = &model.tensors[facts.tensor];
        let reader = TensorReader { files: &files, tensor, progress };
        facts.localization = reader.localize(facts)?;
        files.object_done(tensor.file)?;
        Ok(())
    };
    threads.pool()?.install(|| facts.par_iter_mut().try_for_each(localize_tensor))
}

/// Removes pairs whose pages have equal fingerprints but different bytes. Fingerprints of values that were widened from
/// 16 bits have only 48 bits of content, so that a large model can have collisions.
///
/// # Errors
/// Returns an error if a file cannot be read or changed, or if the run was interrupted.
pub fn confirm(
    model: &Checkpoint,
    facts: &[TensorFacts],
    duplicates: Vec<DuplicatePages>,
    progress: &Progress,
) -> Result<Vec<DuplicatePages>, RunError> {
    let plan = plan(model, facts);
    let files = FileSet::new(&model.files, &plan);
    let bytes = |(index, page): (usize, u64)| {
        let tensor = &model.tensors[facts[index].tensor];
        let start = page * PAGE_LEN - u64::from(phase(tensor.offset));
        TensorReader { files: &files, tensor, progress }.read(start, PAGE_LEN)
    };
    let mut confirmed = Vec::with_capacity(duplicates.len());
    for run in duplicates {
        // Only the first page of a run is compared: a collision does not extend over several pages.
        if bytes(run.here)? == bytes(run.there)? {
            confirmed.push(run);
        }
    }
    for facts in facts {
        files.object_done(model.tensors[facts.tensor].file)?;
    }
    Ok(confirmed)
}

/// Plans to read the tensors of these facts.
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
        let mut localization = Localization::default();
        let dtype = self.tensor.dtype;
        if !dtype.is_float() {
            return Ok(localization);
        }
        self.locate_values(facts, &mut localization)?;
        if facts.pages.constant > 0 && facts.distinct > 1 {
            for run in facts.pages.runs.iter().take(MAX_FOLLOWED) {
                let constant_run = self.extend_run(run)?;
                if localization.constant_runs.last() != Some(&constant_run) {
                    localization.constant_runs.push(constant_run);
                }
            }
        }
        if dtype == Dtype::F32 {
            localization.repeated_share = self.repeated_share()?;
        }
        if let Some(elements) =
            ElementFormat::from_dtype(dtype).filter(|elements| elements.width >= 2)
        {
            let suspicious = facts.low_bits.as_ref().is_some_and(|low| low.is_suspicious());
            // The streams of sparse tensors show the pattern of the zeros and hold no files.
            let search_all = suspicious && facts.zero_share() < MOSTLY_ZERO_FROM;
            self.find_files(&elements, search_all, facts, &mut localization)?;
        }
        Ok(localization)
    }

    /// Reads the bytes `start..start + len` of the tensor, clipped to its length.
    fn read(&self, start: u64, len: u64) -> Result<Vec<u8>, RunError> {
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

    /// Returns the share of the non-zero values at the tensor's start that repeat within their row.
    fn repeated_share(&self) -> Result<f64, RunError> {
        const LONGEST_ROW: u64 = 1024;
        let columns: u64 = self.tensor.storage_shape().iter().skip(1).product();
        let row = columns.clamp(1, LONGEST_ROW) as usize;
        let bytes = self.read(0, 4 * START_ELEMENTS)?;
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

    /// Locates values that stand out, if there are any, in one pass over the tensor.
    fn locate_values(
        &self,
        facts: &TensorFacts,
        localization: &mut Localization,
    ) -> Result<(), RunError> {
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
            for code in self.read(start, PIECE_LEN)?.chunks_exact(width) {
                let mut word = [0; 4];
                word[..width].copy_from_slice(code);
                let word = u32::from_le_bytes(word);
                let magnitude = word & (elements.sign() - 1);
                if magnitude >= elements.limit {
                    localization.not_finite.add(element);
                } else if cutoff.is_some_and(|cutoff| magnitude >= cutoff) {
                    localization.outliers.add(element);
                }
                if mixed && word & 0xFFFF != 0 {
                    localization.nonzero_lower_halves.add(element);
                }
                element += 1;
            }
        }
        Ok(())
    }

    /// Extends a constant run beyond its pages, word by word.
    fn extend_run(&self, run: &ConstantPages) -> Result<ConstantRun, RunError> {
        let phase = u64::from(phase(self.tensor.offset));
        let word = run.word.to_le_bytes();
        let mut start = run.page * PAGE_LEN - phase;
        let mut end = start + run.pages * PAGE_LEN;
        let (first, last) = (start, end);
        while start > 0 && first - start < MAX_DISTANCE {
            let len = start.min(PIECE_LEN);
            let piece = self.read(start - len, len)?;
            let same_bytes =
                piece.rchunks_exact(4).take_while(|candidate| **candidate == word).count() as u64
                    * 4;
            start -= same_bytes;
            if same_bytes + 3 < len {
                break;
            }
        }
        while end < self.tensor.bytes && end - last < MAX_DISTANCE {
            let piece = self.read(end, PIECE_LEN)?;
            let same_bytes =
                piece.chunks_exact(4).take_while(|candidate| **candidate == word).count() as u64
                    * 4;
            end += same_bytes;
            if same_bytes + 3 < piece.len() as u64 || same_bytes == 0 {
                break;
            }
        }
        Ok(ConstantRun { start, end, word: run.word })
    }

    /// Searches for files: in all streams at the tensor's start, or of the whole tensor if its low bits are suspicious, and
    /// in the raw bytes of foreign windows.
    fn find_files(
        &self,
        elements: &ElementFormat,
        search_all: bool,
        facts: &TensorFacts,
        localization: &mut Localization,
    ) -> Result<(), RunError> {
        let width = elements.width;
        let start = START_ELEMENTS * width as u64;
        let end = if search_all { self.tensor.bytes } else { start.min(self.tensor.bytes) };
        let mut searches = FileSearch::new(width);
        for start in (0..end).step_by(PIECE_LEN as usize) {
            searches.add(&self.read(start, PIECE_LEN.min(end - start))?);
        }
        let mut embedded_files = searches.found();
        let windows = facts.windows.iter().flat_map(|windows| &windows.kept);
        for window in windows.take(MAX_FOLLOWED) {
            let first = window.index * WINDOW_LEN as u64;
            let bytes = self.read(first * width as u64, (WINDOW_LEN * width) as u64)?;
            if let Some((at, kind)) = magic::find(&bytes) {
                let bits = 8 * width as u32;
                let stream = LowBitStream { bits, order: BitOrder::LowFirst };
                embedded_files.push(EmbeddedFile {
                    stream,
                    element: first + (at / width) as u64,
                    kind,
                });
            }
        }
        // One file shows in several streams. The one with the most bits at the earliest element has all of it.
        embedded_files.sort_by_key(|file| (file.element, std::cmp::Reverse(file.stream.bits)));
        embedded_files.dedup_by_key(|file| file.element);
        embedded_files.truncate(MAX_KEPT);
        localization.embedded_files = embedded_files;
        Ok(())
    }
}

/// Returns the bits of the magnitude 2^`exponent`, or `None` if the type has no such normal number.
fn magnitude_of(dtype: Dtype, exponent: i32) -> Option<u32> {
    let NumberFormat::Float(format) = dtype.number_format() else { return None };
    let field = exponent + format.bias;
    (field > 0 && field < 1 << format.exponent_bits).then(|| (field as u32) << format.mantissa_bits)
}
