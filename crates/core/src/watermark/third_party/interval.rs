//! Detects weights that moved within their quantisation intervals, by comparing two models.
//!
//! Source: L. Li, B. Jiang, P. Wang, K. Ren, H. Yan and X. Qiu, "Watermarking LLMs with Weight Quantization",
//! Findings of EMNLP 2023: a mark that is present in the floats and absent in the integers, because every weight
//! stays within the interval of its code. Models that behave well in floats and badly once quantised, or the other
//! way round, are made in the same way.
//!
//! For each tensor that both models have, each row (a step of the first dimension) is quantised in both: with step =
//! largest magnitude / 127, the code of w is w / step, rounded half away from zero. The counts are those of differing
//! values, of differing codes, and of the differing codes that are expected if values are uniformly distributed in
//! their intervals: the sum of min(1, |w' - w| / step) with the step of the base. There is no p-value, because the
//! weights were not drawn at random, and there can be legitimate reasons.
//!
//! A model that was quantised and scaled back in this way has all values in the middle of their intervals, and
//! carries no mark. Such values are counted separately.

use super::ThirdPartyError;
use crate::watermark::tensor_index::TensorIndex;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use tensorseal_base::dtype::{Dtype, NumberFormat};
use tensorseal_engine::stream::files::FileSet;
use tensorseal_engine::stream::plan::Plan;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::{Checkpoint, Tensor};
use tensorseal_weights::values::{Decoder, PIECE_LEN, TensorValues};

/// The largest code.
const LARGEST_CODE: f64 = 127.0;

/// The fraction bits of the fixed-point expectations, whose sum does not depend on the order.
const FRACTION_BITS: i32 = 40;

/// The maximum distance from the middle of an interval, in steps, at which a value counts as centred.
const MIDDLE: f64 = 1e-3;

/// The counts for one tensor of two models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IntervalCounts {
    /// The number of values.
    pub elements: u64,
    /// The number of values that differ.
    pub changed: u64,
    /// The number of values that differ and are in the middle of their intervals.
    pub centred: u64,
    /// The number of codes that differ.
    pub codes_changed: u64,
    /// The expected number of differing codes, in fixed point.
    expected: u128,
}

impl IntervalCounts {
    /// Returns the expected number of differing codes.
    pub fn expected(&self) -> f64 {
        libm::ldexp(self.expected as f64, -FRACTION_BITS)
    }

    /// Adds the counts of another part.
    pub fn merge(&mut self, other: &Self) {
        self.elements += other.elements;
        self.changed += other.changed;
        self.centred += other.centred;
        self.codes_changed += other.codes_changed;
        self.expected += other.expected;
    }

    /// Adds values of one row with these largest magnitudes.
    fn add(&mut self, ours: &[f64], base: &[f64], largest: [f64; 2], spacing: f64) {
        let [our_step, base_step] = largest.map(|largest| largest / LARGEST_CODE);
        for (ours, base) in ours.iter().zip(base) {
            self.elements += 1;
            if ours == base {
                // Equal values can have different codes, because the step may differ.
                self.codes_changed += u64::from(code(*ours, our_step) != code(*base, base_step));
                continue;
            }
            self.changed += 1;
            let code = (code(*ours, our_step), code(*base, base_step));
            self.codes_changed += u64::from(code.0 != code.1);
            let middle = code.0 * our_step;
            let near = MIDDLE * our_step + spacing * ours.abs();
            self.centred += u64::from((ours - middle).abs() <= near);
            // In a row that was zero, every non-zero value has a different code.
            let moved = (ours - base).abs();
            let share = if base_step > 0.0 { (moved / base_step).min(1.0) } else { 1.0 };
            self.expected += libm::rint(libm::ldexp(share, FRACTION_BITS)) as u128;
        }
    }
}

/// Returns the code of a value; zero if there is no step, as in a row of zeros.
fn code(value: f64, step: f64) -> f64 {
    if step > 0.0 { libm::round(value / step) } else { 0.0 }
}

/// The counts for the tensors that two models share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Intervals {
    /// The name in the model and the counts of each tensor.
    pub tensors: Vec<(String, IntervalCounts)>,
}

/// A tensor of the model and its counterpart.
struct TensorPair<'a> {
    ours: &'a Tensor,
    base: &'a Tensor,
    decoders: [Decoder; 2],
}

fn pairs<'a>(model: &'a Checkpoint, base: &'a Checkpoint) -> Vec<TensorPair<'a>> {
    let (model_index, base_index) = (TensorIndex::new(model), TensorIndex::new(base));
    let pair = |(canonical, ours): (&String, &usize)| {
        let theirs = base_index.canonical().get(canonical)?;
        let is_whole = model_index.is_whole(*ours) && base_index.is_whole(*theirs);
        let (ours, base) = (&model.tensors[*ours], &base.tensors[*theirs]);
        let decoders = [Decoder::for_weights(ours.dtype)?, Decoder::for_weights(base.dtype)?];
        // Otherwise no dimension is 0, and the product of the dimensions fits.
        if !is_whole || ours.shape != base.shape || ours.bytes == 0 {
            return None;
        }
        // Rows of a single element have no intervals, because its magnitude is the largest one.
        let row = ours.shape.get(1..)?.iter().product::<u64>();
        (ours.shape.len() >= 2 && row > 1).then_some(TensorPair { ours, base, decoders })
    };
    model_index.canonical().iter().filter_map(pair).collect()
}

/// Compares the tensors of floats that both models have, with the same canonical name and shape and two or more
/// dimensions. Element types may differ. Memory: a few MiB for each thread.
///
/// # Errors
/// Returns a [`ThirdPartyError`] if a file cannot be read or changed, or if the run is interrupted.
pub fn measure(
    model: &Checkpoint,
    base: &Checkpoint,
    threads: &Threads,
    progress: &Progress,
) -> Result<Intervals, ThirdPartyError> {
    let pairs = pairs(model, base);
    let plans = [
        Plan::from_tensors(pairs.iter().map(|pair| (0, pair.ours))),
        Plan::from_tensors(pairs.iter().map(|pair| (0, pair.base))),
    ];
    progress.expect(plans.iter().map(|plan| plan.bytes()).sum());
    let files = [FileSet::new(&model.files, &plans[0]), FileSet::new(&base.files, &plans[1])];
    let pool = threads.pool()?;
    let mut intervals = Intervals::default();
    for pair in &pairs {
        let rows = RowReader::new(pair, &files, progress);
        let counts = pool.install(|| rows.count())?;
        intervals.tensors.push((pair.ours.name.clone(), counts));
        files[0].object_done(pair.ours.file)?;
        files[1].object_done(pair.base.file)?;
    }
    Ok(intervals)
}

/// Reads the rows of a pair of tensors.
struct RowReader<'a> {
    values: [TensorValues<'a>; 2],
    /// The number of elements of a row.
    row: u64,
    /// The maximum relative rounding error of a value of the model.
    spacing: f64,
    progress: &'a Progress,
}

impl<'a> RowReader<'a> {
    fn new(pair: &'a TensorPair<'a>, files: &'a [FileSet<'a>; 2], progress: &'a Progress) -> Self {
        let [ours, base] = pair.decoders;
        Self {
            values: [
                TensorValues::new(&files[0], pair.ours, ours),
                TensorValues::new(&files[1], pair.base, base),
            ],
            row: pair.ours.shape[1..].iter().product(),
            spacing: spacing(pair.ours.dtype),
            progress,
        }
    }

    /// Counts all rows. The counts are integers, so their order does not matter.
    fn count(&self) -> Result<IntervalCounts, RunError> {
        // Pieces consist of whole rows; a row longer than a piece is a separate piece.
        let rows = (PIECE_LEN as u64 / self.row).max(1);
        let all = self.values[0].len() / self.row;
        (0..all.div_ceil(rows))
            .into_par_iter()
            .map(|piece| {
                if self.progress.stopped() {
                    return Err(RunError::Interrupted);
                }
                let first = piece * rows * self.row;
                match self.row > PIECE_LEN as u64 {
                    true => self.long_row(first),
                    false => self.short_rows(first, rows.min(all - piece * rows)),
                }
            })
            .try_reduce(IntervalCounts::default, |mut whole, part| {
                whole.merge(&part);
                Ok(whole)
            })
    }

    /// Counts rows that fit in memory, which are read once.
    fn short_rows(&self, first: u64, rows: u64) -> Result<IntervalCounts, RunError> {
        let mut counts = IntervalCounts::default();
        let [ours, base] = self.piece(first, (rows * self.row) as usize)?;
        let row = self.row as usize;
        for (ours, base) in ours.chunks_exact(row).zip(base.chunks_exact(row)) {
            counts.add(ours, base, [largest(ours), largest(base)], self.spacing);
        }
        Ok(counts)
    }

    /// Counts a row that is read twice in pieces: for its largest magnitudes, and for its codes.
    fn long_row(&self, first: u64) -> Result<IntervalCounts, RunError> {
        let starts = || (first..first + self.row).step_by(PIECE_LEN);
        let len = |start: u64| (first + self.row - start).min(PIECE_LEN as u64) as usize;
        let mut largest_magnitudes = [0.0f64; 2];
        for start in starts() {
            for (values, magnitude) in self.values.iter().zip(&mut largest_magnitudes) {
                *magnitude = magnitude.max(largest(&values.read(start, len(start))?));
            }
            if self.progress.stopped() {
                return Err(RunError::Interrupted);
            }
        }
        let mut counts = IntervalCounts::default();
        for start in starts() {
            let [ours, base] = self.piece(start, len(start))?;
            counts.add(&ours, &base, largest_magnitudes, self.spacing);
        }
        Ok(counts)
    }

    fn piece(&self, first: u64, len: usize) -> Result<[Vec<f64>; 2], RunError> {
        if self.progress.stopped() {
            return Err(RunError::Interrupted);
        }
        let [ours, base] = &self.values;
        let read = [ours.read(first, len)?, base.read(first, len)?];
        self.progress.add((len * (ours.width() + base.width())) as u64);
        Ok(read)
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// Returns the relative rounding error of a value that was rounded twice, as the product of code and scale: one unit in
/// the last place.
fn spacing(dtype: Dtype) -> f64 {
    match dtype.number_format() {
        NumberFormat::Float(format) => libm::ldexp(1.0, -(format.mantissa_bits as i32)),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(ours: &[f64], base: &[f64]) -> IntervalCounts {
        let mut counts = IntervalCounts::default();
        counts.add(ours, base, [largest(ours), largest(base)], 0.0);
        counts
    }

    #[test]
    fn codes_and_expectations_by_hand() {
        // A step of 1: codes are the values, rounded half away from zero.
        let base = [127.0, 10.2, -10.5, 0.0, 3.0, 5.5];
        let ours = [127.0, 10.4, -10.4, 2.0, 3.0, 5.4];
        let counts = counted(&ours, &base);
        assert_eq!((counts.elements, counts.changed, counts.codes_changed), (6, 4, 3));
        // 0.2 + 0.1 + 1 + 0.1, rounded to 2^-40 each.
        assert!((counts.expected() - 1.4).abs() < 1e-11);
        // 2.0 stands in the middle of its interval.
        assert_eq!(counts.centred, 1);
    }

    #[test]
    fn rows_of_zeros_have_one_code() {
        let zeros = [0.0; 4];
        assert_eq!(
            counted(&zeros, &zeros),
            IntervalCounts { elements: 4, ..IntervalCounts::default() }
        );
        let counts = counted(&[0.0, 1.0, -1.0, 0.0], &zeros);
        assert_eq!((counts.changed, counts.codes_changed, counts.expected()), (2, 2, 2.0));
        let counts = counted(&zeros, &[0.0, 1.0, -1.0, 0.0]);
        assert_eq!((counts.changed, counts.codes_changed, counts.expected()), (2, 2, 2.0));
    }

    #[test]
    fn a_step_that_changed_changes_codes_of_equal_values() {
        let counts = counted(&[254.0, 10.0], &[127.0, 10.0]);
        assert_eq!((counts.changed, counts.codes_changed), (1, 1));
    }

    proptest! {
        /// What was quantised and scaled back is in the middle of its intervals, and keeps its codes.
        #[test]
        fn the_way_there_and_back_is_known(
            base in prop::collection::vec(-1000i32..1000, 1..100),
            scale in 1e-6f64..1e6,
        ) {
            let base: Vec<f64> = base.iter().map(|x| f64::from(*x) * scale).collect();
            let step = largest(&base) / LARGEST_CODE;
            let ours: Vec<f64> = base.iter().map(|x| code(*x, step) * step).collect();
            let counts = counted(&ours, &base);
            prop_assert_eq!(counts.codes_changed, 0);
            prop_assert_eq!(counts.centred, counts.changed);
        }

        #[test]
        fn parts_merge_to_the_whole(
            values in prop::collection::vec((-1000i32..1000, -1000i32..1000), 1..100),
            cut in any::<prop::sample::Index>(),
        ) {
            let ours: Vec<f64> = values.iter().map(|(a, _)| f64::from(*a) / 7.0).collect();
            let base: Vec<f64> = values.iter().map(|(_, b)| f64::from(*b) / 7.0).collect();
            let most = [largest(&ours), largest(&base)];
            let mut whole = IntervalCounts::default();
            whole.add(&ours, &base, most, 0.0);
            let cut = cut.index(values.len());
            let mut parts = IntervalCounts::default();
            parts.add(&ours[cut..], &base[cut..], most, 0.0);
            let mut rest = IntervalCounts::default();
            rest.add(&ours[..cut], &base[..cut], most, 0.0);
            parts.merge(&rest);
            prop_assert_eq!(parts, whole);
            prop_assert!(whole.expected() <= whole.changed as f64);
        }
    }
}
