//! The difference between two tensors of one type and shape, piece by piece.
//!
//! Values are formed in f64 and added up in the order of the pieces, so that the sums do not depend on
//! the number of threads. What is not finite counts as zero; that it changed is seen by its bytes.

use super::codes::{self, BLOCK, CodeChanges};
use super::range_finder::{self, LowRank, RangeSketch, RowProducts};
use tensorseal_base::dtype::{Dtype, FloatFormat, NumberFormat};
use tensorseal_format::Tensor;
use tensorseal_weights::values::{Decoder, code, finite_or_zero};

/// Rows and columns that a matrix must have for its rank to say anything.
const LEAST_SIDE: u64 = 32;

/// Rows and columns that must have changed for each direction of a low rank: fewer hold no more
/// directions anyway.
const SIDE_A_RANK: u64 = 4;

/// Columns are told apart up to this many.
const COLUMNS: u64 = 1 << 16;

/// How two tensors are compared.
#[derive(Debug, Clone, Copy)]
pub struct TensorComparer {
    /// How a unit is read: an element, or a byte where elements are not whole bytes or not plain numbers.
    pub decoder: Decoder,
    dtype: Dtype,
    /// Whether the units are the elements.
    pub numbers: bool,
    /// Columns of the matrix of the first dimension by all others; `None`: no rank is looked for.
    columns: Option<u64>,
    rows: u64,
    format: Option<FloatFormat>,
    /// Whether codes are looked at.
    quantised: bool,
}

impl TensorComparer {
    /// Of tensors like this one.
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
        let matrix = shape.len() > 1 && rows.min(columns) >= LEAST_SIDE && format.is_some();
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

    /// Compares consecutive units, the first of which has this index. Both sides have as many bytes.
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

    /// The bits of units.
    fn codes(&self, bytes: &[u8]) -> Vec<u64> {
        match self.decoder.width() {
            1 => bytes.iter().map(|byte| u64::from(*byte)).collect(),
            2 => bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit).into()).collect(),
            4 => bytes.as_chunks().0.iter().map(|unit| u32::from_le_bytes(*unit).into()).collect(),
            width => bytes.chunks_exact(width).map(code).collect(),
        }
    }

    /// The values of units, zero for what is not finite. The usual types are read without a call each.
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

    /// The whole, of nothing yet.
    pub fn builder(&self) -> DifferenceBuilder {
        DifferenceBuilder { comparison: *self, part: DifferencePart::default(), matrix: None }
    }
}

/// What consecutive elements of a matrix give to its rank; `codes`: the bits of those after.
fn rank_part(
    first: u64,
    columns: u64,
    format: &FloatFormat,
    [was, is]: [&[f64]; 2],
    codes: &[u64],
) -> RankPart {
    let mut part = RankPart {
        first_row: first / columns,
        columns: vec![0; (columns.min(COLUMNS) as usize).div_ceil(64)],
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
                let bit = place % COLUMNS;
                part.columns[bit as usize / 64] |= 1 << (bit % 64);
            }
        }
        part.coarseness += if changed { coarseness } else { 0.0 };
        part.rows.push((changed, row));
        (at, column) = (at + len, 0);
    }
    part
}

/// 4 to the power of `exponent`, from its bits where it is a normal number.
fn four_to_the(exponent: i32) -> f64 {
    match 2 * exponent {
        power @ -1022..=1023 => f64::from_bits(((power + 1023) as u64) << 52),
        power => libm::ldexp(1.0, power),
    }
}

/// What was measured of consecutive units.
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
    /// Whether the row changed, and its products.
    rows: Vec<(bool, RowProducts)>,
    /// A bit for each column that changed.
    columns: Vec<u64>,
    /// Sum of the squared powers of two below the elements of the rows that changed.
    coarseness: f64,
    /// All mantissas of these, or-ed.
    mantissas: u64,
}

/// Parts added up in order.
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

    /// What it comes to, of a tensor of this many bytes.
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
        // A model that was computed in a shorter type was rounded to that.
        let unused = self.mantissas.trailing_zeros().min(format.mantissa_bits);
        let used = (format.mantissa_bits - unused) as i32;
        // Both sides are rounded, each with a variance of a twelfth of a unit squared.
        let rounding = self.coarseness * libm::ldexp(1.0, -2 * used) / 6.0;
        let found = range_finder::low_rank(&self.sketch.energies(), rounding)?;
        let columns: u64 = self.columns.iter().map(|word| u64::from(word.count_ones())).sum();
        (self.rows_changed.min(columns) >= SIDE_A_RANK * found.rank as u64).then_some(found)
    }
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct TensorDifference {
    /// Whether the units are the elements, and the norms those of their values; else they are bytes.
    pub numbers: bool,
    /// How many units there are.
    pub units: u64,
    /// How many of them have other bytes.
    pub changed: u64,
    /// From the first byte of a changed unit to the last, half-open.
    pub extent: [u64; 2],
    /// Frobenius norm of the difference.
    pub norm: f64,
    /// Frobenius norm of the baseline.
    pub norm_before: f64,
    /// Cosine of the angle between both; not a number where one is zero.
    pub cosine: f64,
    /// The change of largest magnitude, after less before.
    pub largest: f64,
    /// The unit it is in.
    pub largest_at: u64,
    /// What became of the codes of 8 and of 4 bits, where rows are whole blocks.
    pub codes: Option<[CodeChanges; codes::BITS.len()]>,
    /// The low rank of the difference, if it has one.
    pub low_rank: Option<LowRank>,
}

impl TensorDifference {
    /// The norm of the difference over that of the baseline; infinite where that is zero.
    pub fn relative(&self) -> f64 {
        if self.norm == 0.0 { 0.0 } else { self.norm / self.norm_before }
    }

    /// Share of the units that changed.
    pub fn share(&self) -> f64 {
        self.changed as f64 / self.units.max(1) as f64
    }
}
