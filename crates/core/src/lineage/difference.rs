//! Measures the difference between two tensors of one type and shape, piece by piece.
//!
//! Values are converted to f64 and added up in the order of the pieces, so that the sums do not depend on the number of
//! threads. Values that are not finite count as zero in the sums; changes of them are detected by their bytes.

use super::codes::{self, BLOCK, CodeChanges};
use super::range_finder::{self, LowRank, RangeSketch, RowProducts};
use tensorseal_base::dtype::{Dtype, FloatFormat, NumberFormat};
use tensorseal_format::Tensor;
use tensorseal_weights::values::{Decoder, code, finite_or_zero};

/// The numbers of rows and of columns from which the rank of a matrix is meaningful.
const MIN_SIDE: u64 = 32;

/// The numbers of rows and of columns that must have changed for each direction of a low rank. Few changed rows have few
/// directions in any case.
const MIN_SIDE_PER_RANK: u64 = 4;

/// The number of columns that are tracked separately.
const MAX_TRACKED_COLUMNS: u64 = 1 << 16;

/// Compares pieces of two tensors.
#[derive(Debug, Clone, Copy)]
pub struct TensorComparer {
    /// The decoder of a unit. A unit is an element, or a byte if elements are not whole bytes or not plain numbers.
    pub decoder: Decoder,
    dtype: Dtype,
    /// Whether units are elements.
    pub numbers: bool,
    /// The number of columns of the matrix of the first dimension by all others; `None` if no rank is measured.
    columns: Option<u64>,
    rows: u64,
    format: Option<FloatFormat>,
    /// Whether changes of codes are counted.
    quantised: bool,
}

impl TensorComparer {
    /// Creates a comparer for tensors of the type and shape of `tensor`; `None` if the shape overflows.
    pub fn for_tensor(tensor: &Tensor) -> Option<TensorComparer> {
        let dtype = tensor.dtype;
        let numbers = Decoder::for_weights(dtype).or_else(|| Decoder::for_numbers(dtype));
        let numbers = numbers.filter(|_| dtype.bits() >= 8 && dtype != Dtype::C64);
        let format = match dtype.number_format() {
            NumberFormat::Float(format) if numbers.is_some() => Some(format),
            _ => None,
        };
        let shape = tensor.storage_shape();
        let rows = shape.first().copied().unwrap_or(1);
        let columns = shape.iter().skip(1).try_fold(1u64, |all, len| all.checked_mul(*len))?;
        let matrix = shape.len() > 1 && rows.min(columns) >= MIN_SIDE && format.is_some();
        let in_blocks = shape.last().is_some_and(|len| len % BLOCK as u64 == 0);
        Some(TensorComparer {
            dtype,
            decoder: numbers.or_else(|| Decoder::for_numbers(Dtype::U8))?,
            numbers: numbers.is_some(),
            columns: matrix.then_some(columns),
            rows,
            format,
            quantised: format.is_some() && dtype.bits() >= 16 && shape.len() > 1 && in_blocks,
        })
    }

    /// Compares consecutive units, of which the first has the index `first`. Both slices must have the same length.
    pub fn compare_piece(&self, first: u64, before: &[u8], after: &[u8]) -> DifferencePart {
        let was = self.values(before);
        let mut part = DifferencePart::default();
        if before == after {
            part.before = was.iter().map(|value| value * value).sum();
            (part.after, part.dot) = (part.before, part.before);
            return part;
        }
        let is = self.values(after);
        let codes = [before, after].map(|bytes| self.codes(bytes));
        let differ = |(was, is): (&u64, &u64)| was != is;
        let units = || codes[0].iter().zip(&codes[1]);
        part.changed = units().filter(|(was, is)| was != is).count() as u64;
        let ends = (units().position(differ), units().rposition(differ));
        if let (Some(start), Some(last)) = ends {
            part.extent = Some([first + start as u64, first + last as u64 + 1]);
        }
        for (index, (was, is)) in (first..).zip(was.iter().zip(&is)) {
            let difference = is - was;
            part.squares += difference * difference;
            part.before += was * was;
            part.after += is * is;
            part.dot += was * is;
            if libm::fabs(difference) > libm::fabs(part.largest) {
                (part.largest, part.largest_at) = (difference, index);
            }
        }
        if self.quantised {
            part.codes = codes::measure(&was, &is);
        }
        if let (Some(columns), Some(format)) = (self.columns, &self.format) {
            part.matrix = Some(rank_part(first, columns, format, [&was, &is], &codes[1]));
        }
        part
    }

    /// Returns the bits of each unit.
    fn codes(&self, bytes: &[u8]) -> Vec<u64> {
        match self.decoder.width() {
            1 => bytes.iter().map(|byte| u64::from(*byte)).collect(),
            2 => bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit).into()).collect(),
            4 => bytes.as_chunks().0.iter().map(|unit| u32::from_le_bytes(*unit).into()).collect(),
            width => bytes.chunks_exact(width).map(code).collect(),
        }
    }

    /// Returns the value of each unit, or zero if it is not finite. Common types are decoded without a call per unit.
    fn values(&self, bytes: &[u8]) -> Vec<f64> {
        match self.dtype {
            Dtype::F32 => {
                let units = bytes.as_chunks().0.iter();
                units.map(|unit| finite_or_zero(f32::from_le_bytes(*unit).into())).collect()
            }
            Dtype::BF16 => {
                let units = bytes.as_chunks().0.iter();
                let value = |unit| f32::from_bits(u32::from(u16::from_le_bytes(unit)) << 16);
                units.map(|unit| finite_or_zero(value(*unit).into())).collect()
            }
            _ => {
                let units = bytes.chunks_exact(self.decoder.width());
                units.map(|unit| finite_or_zero(self.decoder.value(unit))).collect()
            }
        }
    }

    /// Creates an empty builder that parts are added to.
    pub fn builder(&self) -> DifferenceBuilder {
        DifferenceBuilder { comparison: *self, part: DifferencePart::default(), matrix: None }
    }
}

/// Measures what consecutive elements of a matrix contribute to its rank. `codes` are the bits of the elements after the
/// change.
fn rank_part(
    first: u64,
    columns: u64,
    format: &FloatFormat,
    [was, is]: [&[f64]; 2],
    codes: &[u64],
) -> RankPart {
    let mut part = RankPart {
        first_row: first / columns,
        columns: vec![0; (columns.min(MAX_TRACKED_COLUMNS) as usize).div_ceil(64)],
        ..RankPart::default()
    };
    let (mut at, mut column) = (0, first % columns);
    while at < was.len() {
        let len = (columns - column).min((was.len() - at) as u64) as usize;
        let (mut row, mut changed, mut coarseness) = (RowProducts::default(), false, 0.0);
        for (i, place) in (at..at + len).zip(column..) {
            let (_, exponent, mantissa) = format.fields(codes[i]);
            part.mantissas |= mantissa;
            coarseness += four_to_the(exponent.max(1) as i32 - format.bias);
            let difference = is[i] - was[i];
            if difference != 0.0 {
                changed = true;
                range_finder::add(&mut row, place, difference);
                let bit = place % MAX_TRACKED_COLUMNS;
                part.columns[bit as usize / 64] |= 1 << (bit % 64);
            }
        }
        part.coarseness += if changed { coarseness } else { 0.0 };
        part.rows.push((changed, row));
        (at, column) = (at + len, 0);
    }
    part
}

/// Returns 4 to the power of `exponent`, built from its bits if it is a normal number.
fn four_to_the(exponent: i32) -> f64 {
    match 2 * exponent {
        power @ -1022..=1023 => f64::from_bits(((power + 1023) as u64) << 52),
        power => libm::ldexp(1.0, power),
    }
}

/// The measurement of consecutive units.
#[derive(Debug, Default)]
pub struct DifferencePart {
    changed: u64,
    extent: Option<[u64; 2]>,
    squares: f64,
    before: f64,
    after: f64,
    dot: f64,
    largest: f64,
    largest_at: u64,
    codes: [CodeChanges; codes::BITS.len()],
    matrix: Option<RankPart>,
}

#[derive(Debug, Default)]
struct RankPart {
    first_row: u64,
    /// For each row, whether it changed, and its products.
    rows: Vec<(bool, RowProducts)>,
    /// One bit for each column, which is set if the column changed.
    columns: Vec<u64>,
    /// The sum of the squared powers of two below the elements of changed rows.
    coarseness: f64,
    /// The bitwise or of all mantissas.
    mantissas: u64,
}

/// Adds up parts in order.
pub struct DifferenceBuilder {
    comparison: TensorComparer,
    part: DifferencePart,
    matrix: Option<RankBuilder>,
}

struct RankBuilder {
    sketch: RangeSketch,
    columns: Vec<u64>,
    rows_changed: u64,
    last_changed: Option<u64>,
    coarseness: f64,
    mantissas: u64,
}

impl DifferenceBuilder {
    /// Adds the part that follows.
    pub fn add(&mut self, next: DifferencePart) {
        let part = &mut self.part;
        part.changed += next.changed;
        part.extent = match (part.extent, next.extent) {
            (Some(extent), Some(more)) => Some([extent[0], more[1]]),
            (extent, more) => extent.or(more),
        };
        part.squares += next.squares;
        part.before += next.before;
        part.after += next.after;
        part.dot += next.dot;
        if libm::fabs(next.largest) > libm::fabs(part.largest) {
            (part.largest, part.largest_at) = (next.largest, next.largest_at);
        }
        for (codes, more) in part.codes.iter_mut().zip(&next.codes) {
            codes.merge(more);
        }
        if let Some(part) = next.matrix {
            let rows = self.comparison.rows;
            self.matrix
                .get_or_insert_with(|| RankBuilder {
                    sketch: RangeSketch::new(rows),
                    columns: vec![0; part.columns.len()],
                    rows_changed: 0,
                    last_changed: None,
                    coarseness: 0.0,
                    mantissas: 0,
                })
                .add(&part);
        }
    }

    /// Returns the difference of a tensor of `bytes` bytes, all of whose parts were added.
    pub fn finish(self, bytes: u64) -> TensorDifference {
        let DifferenceBuilder { comparison, part, matrix } = self;
        let width = comparison.decoder.width() as u64;
        let lengths = libm::sqrt(part.before) * libm::sqrt(part.after);
        TensorDifference {
            numbers: comparison.numbers,
            units: bytes / width,
            changed: part.changed,
            extent: part.extent.unwrap_or_default().map(|unit| unit * width),
            norm: libm::sqrt(part.squares),
            norm_before: libm::sqrt(part.before),
            cosine: part.dot / lengths,
            largest: part.largest,
            largest_at: part.largest_at,
            codes: comparison.quantised.then_some(part.codes),
            low_rank: matrix.zip(comparison.format).and_then(|(m, format)| m.low_rank(&format)),
        }
    }
}

impl RankBuilder {
    fn add(&mut self, part: &RankPart) {
        for (row, (changed, products)) in (part.first_row..).zip(&part.rows) {
            if *changed {
                self.sketch.add_row(row, products);
                self.rows_changed += u64::from(self.last_changed != Some(row));
                self.last_changed = Some(row);
            }
        }
        self.columns.iter_mut().zip(&part.columns).for_each(|(all, more)| *all |= more);
        self.coarseness += part.coarseness;
        self.mantissas |= part.mantissas;
    }

    fn low_rank(&self, format: &FloatFormat) -> Option<LowRank> {
        // A model that was computed in a shorter type was rounded to that type.
        let unused = self.mantissas.trailing_zeros().min(format.mantissa_bits);
        let used = (format.mantissa_bits - unused) as i32;
        // Both tensors are rounded, each with a variance of 1/12 of a squared unit.
        let rounding = self.coarseness * libm::ldexp(1.0, -2 * used) / 6.0;
        let found = range_finder::low_rank(&self.sketch.energies(), rounding)?;
        let columns: u64 = self.columns.iter().map(|word| u64::from(word.count_ones())).sum();
        (self.rows_changed.min(columns) >= MIN_SIDE_PER_RANK * found.rank as u64).then_some(found)
    }
}

/// The difference between two tensors.
#[derive(Debug, Clone, Copy)]
pub struct TensorDifference {
    /// Whether units are elements and norms are those of their values. Otherwise units are bytes.
    pub numbers: bool,
    /// The number of units.
    pub units: u64,
    /// The number of units whose bytes changed.
    pub changed: u64,
    /// The half-open byte range from the first to the last changed unit.
    pub extent: [u64; 2],
    /// The Frobenius norm of the difference.
    pub norm: f64,
    /// The Frobenius norm of the baseline.
    pub norm_before: f64,
    /// The cosine of the angle between both tensors; NaN if one of them is zero.
    pub cosine: f64,
    /// The change of largest magnitude, after minus before.
    pub largest: f64,
    /// The index of the unit with the largest change.
    pub largest_at: u64,
    /// How the 8-bit and the 4-bit codes changed, if rows consist of whole quantisation blocks.
    pub codes: Option<[CodeChanges; codes::BITS.len()]>,
    /// The low rank of the difference, if it has low rank.
    pub low_rank: Option<LowRank>,
}

impl TensorDifference {
    /// Returns the norm of the difference divided by that of the baseline; infinite if the baseline is zero and changed.
    pub fn relative(&self) -> f64 {
        if self.norm == 0.0 { 0.0 } else { self.norm / self.norm_before }
    }

    /// Returns the share of the units that changed, 0 to 1.
    pub fn share(&self) -> f64 {
        self.changed as f64 / self.units.max(1) as f64
    }
}
