//! `magnitudes`: sums the logarithmic magnitudes of the elements of each row and each column.
//!
//! For each element the kernel adds the exponent field and the first four bits of the mantissa, read as
//! one integer: the magnitude in sixteenths of a binade. Except for a constant this is 16 · log2|w| within
//! 1.4 sixteenths (Mitchell 1962, "Computer multiplication and division using binary logarithms"). Zeros,
//! values below the first step of the type and non-finite values add nothing. Scaling a row by c changes
//! its sum by 16 · log2 c for each element, whatever the scale of the tensor, and a single outlier hardly
//! changes it.
//!
//! Sums of squares would need a scale for each part of a tensor, and columns cross all parts. These sums
//! need no scale, and are exact in 32 bits however the work is split. Rows are the steps of the first
//! dimension. Shader twin: `shaders/magnitudes.wgsl`.

use super::correlation::ElementFormat;
use super::isa::{self, VectorKernel};
use std::ops::RangeInclusive;

/// The number of steps in a binade.
pub const STEPS: u32 = 16;

/// The number of mantissa bits that are used.
const KEPT_BITS: u32 = 4;

/// The maximum number of rows and of columns: the sum of that many steps, each at most 4,080, has 32 bits.
const MAX_LEN: u64 = 1 << 20;

/// The range of row lengths, in elements, that are measured.
pub const COLUMNS: RangeInclusive<u64> = 32..=MAX_LEN;

/// The sums over the elements of rows and columns, in steps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Magnitudes {
    /// The number of the first row.
    pub first: u64,
    /// The sum of each row.
    pub rows: Vec<u32>,
    /// The sum of each column.
    pub columns: Vec<u32>,
}

/// Returns the number of elements in a row of a tensor of this shape. Returns `None` if rows are not
/// measured: there are fewer than two dimensions, or too many rows, or rows of a length outside of
/// [`COLUMNS`].
pub fn columns(shape: &[u64]) -> Option<u32> {
    let (rows, rest) = shape.split_first()?;
    if rest.is_empty() || !(2..=MAX_LEN).contains(rows) {
        return None;
    }
    let columns = rest.iter().try_fold(1u64, |all, more| all.checked_mul(*more))?;
    COLUMNS.contains(&columns).then_some(columns as u32)
}

impl Magnitudes {
    /// Creates zero sums for the rows that the bytes `start..start + len` of a tensor touch.
    pub fn for_range(elements: &ElementFormat, columns: u32, start: u64, len: u64) -> Magnitudes {
        let (width, row) = (elements.width as u64, u64::from(columns));
        let (begin, end) = (start / width, (start + len) / width);
        let first = begin / row;
        let rows = if end > begin { (end - 1) / row + 1 - first } else { 0 };
        Magnitudes { first, rows: vec![0; rows as usize], columns: vec![0; columns as usize] }
    }

    /// Adds the measurement of a part of this range.
    pub fn merge(&mut self, part: &Magnitudes) {
        let at = (part.first - self.first) as usize;
        for (row, more) in self.rows[at..].iter_mut().zip(&part.rows) {
            *row += more;
        }
        for (column, more) in self.columns.iter_mut().zip(&part.columns) {
            *column += more;
        }
    }

    /// CPU kernel: adds the elements of `bytes`, which begin `start` bytes into the tensor. `start` is a whole
    /// number of elements. Trailing bytes short of an element are not counted.
    pub fn add(&mut self, elements: &ElementFormat, start: u64, bytes: &[u8]) {
        let columns = self.columns.len();
        let begin = start / elements.width as u64;
        let mut row = (begin / columns as u64 - self.first) as usize;
        let mut column = (begin % columns as u64) as usize;
        let mut rest = &bytes[..bytes.len() - bytes.len() % elements.width];
        while !rest.is_empty() {
            let len = (columns - column).min(rest.len() / elements.width);
            let (part, more) = rest.split_at(len * elements.width);
            let sums = &mut self.columns[column..column + len];
            self.rows[row] += isa::vectorised(Stretch { elements, bytes: part, sums });
            (rest, row, column) = (more, row + 1, 0);
        }
    }
}

/// A range of elements in one row.
struct Stretch<'a> {
    elements: &'a ElementFormat,
    bytes: &'a [u8],
    sums: &'a mut [u32],
}

impl VectorKernel for Stretch<'_> {
    type Output = u32;

    #[inline(always)]
    fn run(self) -> u32 {
        match self.elements.width {
            1 => add8(self.elements, self.bytes, self.sums),
            2 => add16(self.elements, self.bytes.as_chunks().0, self.sums),
            _ => add32(self.elements, self.bytes.as_chunks().0, self.sums),
        }
    }
}

/// Returns the steps of a magnitude less than 2^16.
#[inline(always)]
fn steps(magnitude: u32, mantissa_bits: u32) -> u32 {
    magnitude << KEPT_BITS >> mantissa_bits
}

#[inline(always)]
fn add8(elements: &ElementFormat, bytes: &[u8], sums: &mut [u32]) -> u32 {
    let mut total = 0;
    for (byte, sum) in bytes.iter().zip(sums) {
        let magnitude = u32::from(byte & 0x7F);
        let finite = if magnitude < elements.limit { magnitude } else { 0 };
        let steps = steps(finite, elements.mantissa_bits);
        *sum += steps;
        total += steps;
    }
    total
}

#[inline(always)]
fn add16(elements: &ElementFormat, words: &[[u8; 2]], sums: &mut [u32]) -> u32 {
    let (limit, mantissa_bits) = (elements.limit as u16, elements.mantissa_bits);
    let mut total = 0;
    for (word, sum) in words.iter().zip(sums) {
        let magnitude = u16::from_le_bytes(*word) & 0x7FFF;
        let finite = if magnitude < limit { magnitude } else { 0 };
        // Mantissas of 16-bit types have more bits than are used.
        let steps = u32::from(finite >> (mantissa_bits - KEPT_BITS));
        *sum += steps;
        total += steps;
    }
    total
}

#[inline(always)]
fn add32(elements: &ElementFormat, words: &[[u8; 4]], sums: &mut [u32]) -> u32 {
    let (limit, mantissa_bits) = (elements.limit, elements.mantissa_bits);
    let mut total = 0;
    for (word, sum) in words.iter().zip(sums) {
        let magnitude = u32::from_le_bytes(*word) & 0x7FFF_FFFF;
        let finite = if magnitude < limit { magnitude } else { 0 };
        let steps = finite >> (mantissa_bits - KEPT_BITS);
        *sum += steps;
        total += steps;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tensorseal_base::dtype::Dtype;

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    const DTYPES: [Dtype; 5] =
        [Dtype::F8_E4M3, Dtype::F8_E5M2, Dtype::F16, Dtype::BF16, Dtype::F32];

    proptest! {
        #[test]
        fn sums_are_the_definition_and_parts_merge(
            seed in any::<u64>(),
            columns in 32u32..300,
            len in 1usize..9000,
            cut in 0usize..9000,
        ) {
            for dtype in DTYPES {
                let elements = ElementFormat::from_dtype(dtype).unwrap();
                let bytes = noise(seed, len * elements.width);
                let cut = cut.min(len) * elements.width;
                let total = bytes.len() as u64;
                let mut sum = Magnitudes::for_range(&elements, columns, 0, total);
                let mut expected = sum.clone();
                for (at, element) in bytes.chunks(elements.width).enumerate() {
                    let mut word = [0; 4];
                    word[..elements.width].copy_from_slice(element);
                    let magnitude = u32::from_le_bytes(word) & (elements.sign() - 1);
                    if magnitude < elements.limit {
                        let steps = ((u64::from(magnitude) * 16) >> elements.mantissa_bits) as u32;
                        expected.rows[at / columns as usize] += steps;
                        expected.columns[at % columns as usize] += steps;
                    }
                }
                for (start, part) in [(cut, &bytes[cut..]), (0, &bytes[..cut])] {
                    let (start, len) = (start as u64, part.len() as u64);
                    let mut more = Magnitudes::for_range(&elements, columns, start, len);
                    more.add(&elements, start, part);
                    sum.merge(&more);
                }
                prop_assert_eq!(&sum, &expected);
            }
        }
    }

    #[test]
    fn a_step_is_a_sixteenth_of_a_binade() {
        let elements = ElementFormat::from_dtype(Dtype::F32).unwrap();
        let sum = |value: f32| {
            let bytes: Vec<u8> = [value; 64].iter().flat_map(|v| v.to_le_bytes()).collect();
            let mut sums = Magnitudes::for_range(&elements, 32, 0, 256);
            sums.add(&elements, 0, &bytes);
            assert_eq!(sums.rows[0], 16 * sums.columns[0]);
            f64::from(sums.rows[0]) / 32.0
        };
        assert_eq!(sum(2.0) - sum(1.0), 16.0);
        assert_eq!(sum(-10.0), sum(10.0));
        assert!((sum(0.3) - sum(1.0) - 16.0 * 0.3f64.log2()).abs() < 2.5);
        assert_eq!(sum(f32::NAN), 0.0);
    }

    #[test]
    fn only_matrices_of_usual_sizes_have_rows() {
        assert_eq!(columns(&[8, 4, 4, 2]), Some(32));
        for shape in [&[][..], &[9], &[1, 64], &[9, 31], &[9, 0], &[9, 1 << 21], &[1 << 21, 64]] {
            assert_eq!(columns(shape), None, "{shape:?}");
        }
        assert_eq!(columns(&[2, u64::MAX, u64::MAX]), None);
    }
}
