//! NeuralMark: bits that are the hash of the key, read from filtered weights.
//!
//! Source: Y. Yao, J. Song and J. Jin, "Hashed Watermark as a Filter: A Unified Defense Against Forging
//! and Overwriting Attacks in Neural Network Watermarking", AAAI 2026, arXiv 2507.11137. The key is a
//! matrix K (k x s) of F32; its bits are SHAKE-256 of its bytes (row-major, little-endian), s / 8 of
//! them, the most significant bit of each first. The weights, flattened in row-major order, are filtered
//! some times: cut to a multiple of s, and kept where bit i mod s is 1. What is left is cut to a multiple
//! of k and averaged as rows of k; bit j is 1 where sum_i mean_i K_ij > 0.
//!
//! The final position of a weight follows from its index alone ([`Filter::position`]), so that weights can be streamed.

use super::arrays::{Array, ArrayError, ArrayRole, NamedArrayError};
use super::key_directory::KeyDirectory;
use super::key_id::KeyIdHasher;
use super::measurement::{PartMeasurement, Projections, Statistic};
use super::projections::{check_bits, project};
use super::{KeyPart, MeasurementContext, ThirdPartyError, check_floats};
use serde::Deserialize;
use shake::Shake256;
use shake::digest::{ExtendableOutput, Update, XofReader};
use tensorseal_format::Tensor;

/// The maximum number of filter rounds.
const MAX_ROUNDS: u32 = 64;

/// A part of a key in its descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NeuralMarkDescriptor {
    tensor: String,
    key: String,
    rounds: u32,
    #[serde(default)]
    bits: Option<String>,
}

/// A part of a NeuralMark key.
pub(super) struct NeuralMarkPart {
    tensor: String,
    /// The key matrix, k x s.
    key: Array,
    /// The s bits of its hash.
    bits: Vec<bool>,
    filter: Filter,
}

impl NeuralMarkPart {
    /// Reads the arrays of a part. Bits that are not the hash of the key are refused.
    pub(super) fn read(
        part: NeuralMarkDescriptor,
        directory: &mut KeyDirectory<'_>,
    ) -> Result<Self, NamedArrayError> {
        let mut hasher = Shake256::default();
        let key =
            directory.exclusive_array(&part.key, ArrayRole::SingleMatrix, &mut |bytes, _| {
                Update::update(&mut hasher, bytes)
            })?;
        let columns = key.tensor.shape[1];
        let unfit = |what: &str| ArrayError::Unfit(what.to_owned()).with_name(&key.name);
        if !columns.is_multiple_of(8) {
            return Err(unfit("has a number of columns that is not a multiple of 8"));
        }
        // At most MAX_BITS.
        let mut bytes = vec![0; (columns / 8) as usize];
        hasher.finalize_xof().read(&mut bytes);
        let bits: Vec<bool> = bytes
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte >> (7 - bit) & 1 == 1))
            .collect();
        if let Some(stated) = &part.bits {
            let stated = directory.array(stated, ArrayRole::Bits)?;
            check_bits(&stated, columns)?;
            let read =
                directory.with_files(&[&stated], |files| stated.values(files).read(0, bits.len()));
            let read = read.map_err(|error| ArrayError::from(error).with_name(&stated.name))?;
            if !bits.iter().zip(&read).all(|(bit, read)| *bit == (*read != 0.0)) {
                let what = format!("is not the SHAKE-256 hash of {}: the key is invalid", key.name);
                return Err(ArrayError::Unfit(what).with_name(&stated.name));
            }
        }
        if part.rounds > MAX_ROUNDS {
            return Err(unfit("uses more than 64 filter rounds"));
        }
        let filter = Filter::new(&bits, part.rounds);
        Ok(Self { tensor: part.tensor, key, bits, filter })
    }
}

/// Determines which weights the filter keeps, and their positions.
struct Filter {
    /// By index modulo the number of bits: the number of ones before it, if the weight is kept.
    ranks: Vec<Option<u32>>,
    ones: u64,
    rounds: u32,
}

impl Filter {
    fn new(bits: &[bool], rounds: u32) -> Self {
        let mut ones = 0;
        let rank = |bit: &bool| {
            let rank = bit.then_some(ones);
            ones += u32::from(*bit);
            rank
        };
        let ranks = bits.iter().map(rank).collect();
        Self { ranks, ones: u64::from(ones), rounds }
    }

    /// Returns the number of elements that one round keeps.
    fn after_one(&self, elements: u64) -> u64 {
        elements / self.ranks.len() as u64 * self.ones
    }

    /// Returns the number of elements that all rounds keep.
    fn kept(&self, elements: u64) -> u64 {
        (0..self.rounds).fold(elements, |elements, _| self.after_one(elements))
    }

    /// Returns the final position of element `index`; `None` if the filter drops it.
    fn position(&self, mut index: u64, mut elements: u64) -> Option<u64> {
        let period = self.ranks.len() as u64;
        for _ in 0..self.rounds {
            let (whole, within) = (index / period, index % period);
            if whole >= elements / period {
                return None;
            }
            index = whole * self.ones + u64::from(self.ranks[within as usize]?);
            elements = self.after_one(elements);
        }
        Some(index)
    }
}

/// The average of the rows of kept elements of a tensor.
struct Pooled {
    /// The sum of each element of a row.
    sums: Vec<f64>,
    magnitudes: Vec<f64>,
    rows: u64,
    /// The number of finite non-zero weights among the kept elements.
    nonzero: u64,
}

impl Pooled {
    /// Creates the average for a tensor of this number of elements.
    fn new(columns: u64, filter: &Filter, elements: u64) -> Self {
        let rows = filter.kept(elements) / columns;
        let (sums, magnitudes) = (vec![0.0; columns as usize], vec![0.0; columns as usize]);
        Self { sums, magnitudes, rows, nonzero: 0 }
    }

    /// Adds consecutive weights from element `first` on, of `elements` in total.
    fn add(&mut self, filter: &Filter, first: u64, elements: u64, weights: &[f64]) {
        let columns = self.sums.len() as u64;
        for (index, weight) in (first..).zip(weights) {
            let Some(position) = filter.position(index, elements) else { continue };
            if position / columns < self.rows {
                let column = (position % columns) as usize;
                self.sums[column] += weight;
                self.magnitudes[column] += weight.abs();
                self.nonzero += u64::from(*weight != 0.0);
            }
        }
    }

    /// Returns the mean of a column, and the mean of the magnitudes.
    fn column_mean(&self, column: usize) -> (f64, f64) {
        let rows = self.rows as f64;
        (self.sums[column] / rows, self.magnitudes[column] / rows)
    }
}

impl KeyPart for NeuralMarkPart {
    fn tensor(&self) -> &str {
        &self.tensor
    }

    fn arrays(&self) -> Vec<&Array> {
        vec![&self.key]
    }

    fn commit(&self, id: &mut KeyIdHasher) {
        // The bits follow from the key.
        id.text(&self.tensor);
        id.number(self.filter.rounds.into());
        id.array(&self.key);
    }

    fn check(&self, tensor: &Tensor) -> Result<(), ThirdPartyError> {
        check_floats(tensor)?;
        let elements: u64 = tensor.shape.iter().product();
        let (kept, rows) = (self.filter.kept(elements), self.key.tensor.shape[0]);
        if kept >= rows {
            return Ok(());
        }
        let what = format!(
            "{} rounds of the filter keep {kept} of its {elements} elements, but the matrix {} has {rows} rows",
            self.filter.rounds, self.key.name
        );
        Err(ThirdPartyError::shape(tensor, what))
    }

    fn measure(
        &self,
        tensor: &Tensor,
        run: &MeasurementContext<'_>,
    ) -> Result<PartMeasurement, ThirdPartyError> {
        let (rows, columns) = (self.key.tensor.shape[0], self.key.tensor.shape[1]);
        let weights = run.weights(tensor)?;
        // As checked: at most MAX_ROWS.
        let mut pooled = Pooled::new(rows, &self.filter, weights.len());
        for piece in run.pieces(&weights) {
            let (first, piece) = piece?;
            pooled.add(&self.filter, first, weights.len(), &piece);
        }
        let matrix = self.key.values(&run.key);
        let mut projections = Projections::new(columns as usize, pooled.rows);
        for piece in run.pieces(&matrix) {
            let (first, piece) = piece?;
            project(&mut projections, columns, first, &piece, |row| pooled.column_mean(row));
        }
        Ok(PartMeasurement {
            tensor: tensor.name.clone(),
            elements: pooled.nonzero,
            statistic: Statistic::Bits(projections.compare(&self.bits)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Applies the filter as defined: round by round, on a list.
    fn literally(bits: &[bool], rounds: u32, elements: u64) -> Vec<u64> {
        let mut kept: Vec<u64> = (0..elements).collect();
        for _ in 0..rounds {
            kept.truncate(kept.len() / bits.len() * bits.len());
            let mut round = 0..;
            kept.retain(|_| round.next().is_some_and(|at: usize| bits[at % bits.len()]));
        }
        kept
    }

    proptest! {
        #[test]
        fn the_filter_is_that_of_its_definition(
            bits in prop::collection::vec(any::<bool>(), 1..20),
            rounds in 0u32..5,
            elements in 0u64..700,
        ) {
            let filter = Filter::new(&bits, rounds);
            let expected = literally(&bits, rounds, elements);
            prop_assert_eq!(filter.kept(elements), expected.len() as u64);
            let mut places: Vec<(u64, u64)> = (0..elements)
                .filter_map(|index| Some((filter.position(index, elements)?, index)))
                .collect();
            places.sort_unstable();
            let by_place: Vec<u64> = places.iter().map(|(_, index)| *index).collect();
            prop_assert_eq!(by_place, expected);
            prop_assert!(places.iter().map(|(place, _)| *place).eq(0..places.len() as u64));
        }

        /// Streamed in pieces, the pooled rows are those of the whole.
        #[test]
        fn pooling_is_that_of_its_definition(
            bits in prop::collection::vec(any::<bool>(), 8),
            rounds in 0u32..3,
            columns in 1u64..6,
            weights in prop::collection::vec(-99i32..99, 1..300),
            piece in 1usize..64,
        ) {
            let weights: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
            let elements = weights.len() as u64;
            let filter = Filter::new(&bits, rounds);
            let mut pooled = Pooled::new(columns, &filter, elements);
            for (index, part) in weights.chunks(piece).enumerate() {
                pooled.add(&filter, (index * piece) as u64, elements, part);
            }
            let kept = literally(&bits, rounds, elements);
            let rows: Vec<&[u64]> = kept.chunks_exact(columns as usize).collect();
            prop_assert_eq!(pooled.rows, rows.len() as u64);
            for column in 0..columns as usize {
                let sum: f64 = rows.iter().map(|row| weights[row[column] as usize]).sum();
                prop_assert_eq!(pooled.sums[column], sum);
            }
        }
    }

    #[test]
    fn indices_beyond_any_tensor_do_not_overflow() {
        let filter = Filter::new(&[true; 8], 64);
        assert_eq!(filter.position(u64::MAX - 8, u64::MAX), Some(u64::MAX - 8));
        assert_eq!(filter.position(u64::MAX - 1, u64::MAX), None);
        let none = Filter::new(&[false; 8], 3);
        assert_eq!((none.kept(u64::MAX), none.position(5, 100)), (0, None));
    }
}
