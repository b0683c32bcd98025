//! Scales and zero points: numbers that are shared by blocks of a matrix.

use super::codes::split_code;
use crate::element_reader::ElementReader;
use std::ops::Range;
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::stream::files::FileError;
use tensorseal_format::Tensor;

/// Types that scales are kept in as numbers.
pub(super) const NUMBERS: &[Dtype] = &[Dtype::F32, Dtype::BF16, Dtype::F16, Dtype::F64];

/// Rows and columns of a block of swizzled scales.
const SWIZZLED: [u64; 2] = [128, 4];

/// A matrix of numbers, smaller than the one they belong to.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    /// The tensor.
    pub tensor: usize,
    /// Its rows and columns for one matrix, as that has them.
    pub rows: u64,
    pub columns: u64,
    /// How it is kept.
    pub encoding: GridEncoding,
    /// What every number is multiplied by.
    pub factor: f64,
}

/// How the numbers of a grid are kept.
#[derive(Debug, Clone)]
pub(super) enum GridEncoding {
    /// As elements of a type of numbers, row by row.
    Numbers,
    /// The same, in rows that go on behind the columns that count.
    Padded { row: u64 },
    /// The same, column by column.
    Transposed,
    /// As exponents of two (E8M0, OCP Microscaling Formats 1.0, section 5.4.1), row by row.
    Exponents,
    /// As codes of E4M3 in bytes, row by row.
    E4m3,
    /// As one or the other, in blocks of 128 rows and 4 columns whose rows 0, 32, 64 and 96 lie together (the order
    /// in which tensor cores take them; cuBLAS, "1D block scaling factors layout").
    Swizzled { exponents: bool },
    /// As codes along each row, with something added to each.
    PackedRows { bits: u64, unit_bits: u64, add: f64, places: Option<&'static [u8]>, row: u64 },
    /// As codes along each row, split into planes ([`split_code`]).
    Split { bits: u64 },
    /// As codes down each column in words: one stream of bits, or whole codes in each word.
    PackedColumns { bits: u64, stream: bool },
    /// As codes of eight bits into a table, with scales of their own and a number that is added.
    Nested { table: usize, scales: usize, block: u64, offset: f64 },
}

/// How numbers of these types are kept.
pub(super) fn encoding_of(tensor: &Tensor) -> Option<GridEncoding> {
    match tensor.dtype {
        dtype if NUMBERS.contains(&dtype) => Some(GridEncoding::Numbers),
        Dtype::F8_E8M0 => Some(GridEncoding::Exponents),
        Dtype::F8_E4M3 => Some(GridEncoding::E4m3),
        _ => None,
    }
}

/// Words of a column of this many codes.
pub(super) fn down(rows: u64, bits: u64, stream: bool) -> u64 {
    match stream {
        true => rows.saturating_mul(bits).div_ceil(32),
        false => rows.div_ceil(32 / bits),
    }
}

/// The value of a byte, whatever its type is called.
fn e4m3(code: u64) -> f64 {
    crate::values::float(Dtype::F8_E4M3, code)
}

/// 2^(code - 127); the last code is not a number.
fn power(code: u64) -> f64 {
    match code {
        0xFF => f64::NAN,
        code => libm::ldexp(1.0, code as i32 - 127),
    }
}

impl Grid {
    /// The numbers of a tensor as they are.
    pub(super) fn new(tensor: usize, [rows, columns]: [u64; 2], kept: GridEncoding) -> Self {
        Self { tensor, rows, columns, encoding: kept, factor: 1.0 }
    }

    /// The codes of its tensor that are no numbers, where it is one of codes.
    pub(super) fn nan_codes(&self) -> &'static [u8] {
        match self.encoding {
            GridEncoding::Exponents | GridEncoding::Swizzled { exponents: true } => &[0xFF],
            GridEncoding::E4m3 | GridEncoding::Swizzled { exponents: false } => &[0x7F, 0xFF],
            _ => &[],
        }
    }

    /// Every tensor that is read for it.
    pub(super) fn tensors(&self) -> Vec<usize> {
        match self.encoding {
            GridEncoding::Nested { table, scales, .. } => vec![self.tensor, table, scales],
            _ => vec![self.tensor],
        }
    }

    /// The numbers of some rows and columns for matrix `matrix`, row-major.
    pub(super) fn load(
        &self,
        stored: &ElementReader<'_>,
        matrix: u64,
        rows: Range<u64>,
        columns: Range<u64>,
    ) -> Result<Vec<f64>, FileError> {
        let (width, height) = (columns.end - columns.start, rows.end - rows.start);
        let base = matrix * self.rows;
        let mut numbers = Vec::with_capacity((width * height) as usize);
        match &self.encoding {
            GridEncoding::Numbers | GridEncoding::Exponents | GridEncoding::E4m3 => {
                let rows = base + rows.start..base + rows.end;
                self.read(stored, self.columns, rows, columns, &mut numbers)?;
            }
            GridEncoding::Padded { row } => {
                let rows = base + rows.start..base + rows.end;
                self.read(stored, *row, rows, columns, &mut numbers)?;
            }
            GridEncoding::Transposed => {
                numbers.resize((width * height) as usize, 0.0);
                let base = matrix * self.columns;
                for (at, column) in columns.enumerate() {
                    let first = (base + column) * self.rows + rows.start;
                    let values = stored.values(self.tensor, first, height as usize)?;
                    for (row, value) in values.into_iter().enumerate() {
                        numbers[row * width as usize + at] = value;
                    }
                }
            }
            GridEncoding::Swizzled { exponents } => {
                numbers.resize((width * height) as usize, 0.0);
                self.unswizzle(stored, matrix, rows, columns, *exponents, &mut numbers)?;
            }
            GridEncoding::PackedRows { bits, unit_bits, add, places, row: units } => {
                let mask = (1u64 << bits) - 1;
                for row in rows {
                    let start = (base + row) * units;
                    match places {
                        Some(places) => {
                            let per_unit = places.len() as u64;
                            let first = columns.start / per_unit;
                            let count = columns.end.div_ceil(per_unit) - first;
                            let words = stored.codes(self.tensor, start + first, count as usize)?;
                            numbers.extend(columns.clone().map(|column| {
                                let word = words[(column / per_unit - first) as usize];
                                let place = u64::from(places[(column % per_unit) as usize]);
                                (word >> (place * bits) & mask) as f64 + add
                            }));
                        }
                        None => {
                            let first = columns.start * bits / unit_bits;
                            let count = (columns.end * bits).div_ceil(*unit_bits) - first + 1;
                            let words = stored.codes(self.tensor, start + first, count as usize)?;
                            numbers.extend(columns.clone().map(|column| {
                                let bit = column * bits;
                                let (at, shift) = (bit / unit_bits - first, bit % unit_bits);
                                let two = u128::from(words[at as usize])
                                    | u128::from(words[at as usize + 1]) << unit_bits;
                                ((two >> shift) as u64 & mask) as f64 + add
                            }));
                        }
                    }
                }
            }
            GridEncoding::Split { bits } => {
                let units = self.columns.div_ceil(32) * bits;
                for row in rows {
                    let first = columns.start / 32;
                    let count = (columns.end.div_ceil(32) - first) * bits;
                    let start = (base + row) * units + first * bits;
                    let words = stored.codes(self.tensor, start, count as usize)?;
                    numbers.extend(columns.clone().map(|column| {
                        let block = (column / 32 - first) * bits;
                        split_code(*bits, column % 32, |word| words[(block + word) as usize]) as f64
                    }));
                }
            }
            GridEncoding::PackedColumns { bits, stream } => {
                let base = matrix * down(self.rows, *bits, *stream);
                let mask = (1u64 << bits) - 1;
                for row in rows {
                    let (word, shift) = match stream {
                        true => (row * bits / 32, row * bits % 32),
                        false => (row / (32 / bits), row % (32 / bits) * bits),
                    };
                    let read = |word: u64| {
                        let first = (base + word) * self.columns + columns.start;
                        stored.codes(self.tensor, first, width as usize)
                    };
                    let low = read(word)?;
                    let high = if shift + bits > 32 { read(word + 1)? } else { vec![0; low.len()] };
                    let both = low.into_iter().zip(high);
                    numbers.extend(
                        both.map(|(low, high)| ((low | high << 32) >> shift & mask) as f64),
                    );
                }
            }
            GridEncoding::Nested { table, scales, block, offset } => {
                let first = (base + rows.start) * self.columns;
                let count = width * height;
                let table = stored.values(*table, 0, 256)?;
                let from = first / block;
                let outer = (first + count).div_ceil(*block) - from;
                let outer = stored.values(*scales, from, outer as usize)?;
                let codes = stored.codes(self.tensor, first, count as usize)?;
                numbers.extend((first..).zip(codes).map(|(at, code)| {
                    table[code as usize & 0xFF] * outer[(at / block - from) as usize] + offset
                }));
            }
        }
        numbers.resize((width * height) as usize, 0.0);
        if self.factor != 1.0 {
            numbers.iter_mut().for_each(|number| *number *= self.factor);
        }
        Ok(numbers)
    }

    /// Elements that lie in their order, some of each row of `row`.
    fn read(
        &self,
        stored: &ElementReader<'_>,
        row: u64,
        rows: Range<u64>,
        columns: Range<u64>,
        numbers: &mut Vec<f64>,
    ) -> Result<(), FileError> {
        let mut bytes = Vec::new();
        stored.units_of_rows(self.tensor, row, rows, columns, &mut bytes)?;
        match self.encoding {
            GridEncoding::Exponents => {
                numbers.extend(bytes.into_iter().map(|code| power(code.into())))
            }
            GridEncoding::E4m3 => numbers.extend(bytes.into_iter().map(|code| e4m3(code.into()))),
            _ => numbers.extend(stored.decoded(self.tensor, &bytes)),
        }
        Ok(())
    }

    /// Numbers that lie in blocks, block by block.
    fn unswizzle(
        &self,
        stored: &ElementReader<'_>,
        matrix: u64,
        rows: Range<u64>,
        columns: Range<u64>,
        exponents: bool,
        numbers: &mut [f64],
    ) -> Result<(), FileError> {
        let [high, wide] = SWIZZLED;
        let blocks = [self.rows.div_ceil(high), self.columns.div_ceil(wide)];
        let width = columns.end - columns.start;
        for down in rows.start / high..rows.end.div_ceil(high) {
            for across in columns.start / wide..columns.end.div_ceil(wide) {
                let block = (matrix * blocks[0] + down) * blocks[1] + across;
                let (first, count) = (block * high * wide, (high * wide) as usize);
                let value = if exponents { power } else { e4m3 };
                let codes = stored.codes(self.tensor, first, count)?;
                let block: Vec<f64> = codes.into_iter().map(value).collect();
                for row in rows.start.max(down * high)..rows.end.min((down + 1) * high) {
                    for column in
                        columns.start.max(across * wide)..columns.end.min((across + 1) * wide)
                    {
                        let within = row % 32 * 16 + row % high / 32 * 4 + column % wide;
                        let to = (row - rows.start) * width + column - columns.start;
                        numbers[to as usize] = block[within as usize];
                    }
                }
            }
        }
        Ok(())
    }

    /// How many elements a swizzled tensor of these numbers has for one matrix.
    pub(super) fn swizzled_len(rows: u64, columns: u64) -> u64 {
        let [high, wide] = SWIZZLED;
        rows.div_ceil(high).saturating_mul(columns.div_ceil(wide)).saturating_mul(high * wide)
    }
}
