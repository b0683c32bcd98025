//! Scales and zero points: numbers that the elements of a block of a matrix share.

use super::codes::split_code;
use crate::element_reader::ElementReader;
use std::ops::Range;
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::stream::files::FileError;
use tensorseal_format::Tensor;

/// The floating-point types of scales.
pub(super) const NUMBERS: &[Dtype] = &[Dtype::F32, Dtype::BF16, Dtype::F16, Dtype::F64];

/// The rows and columns in a block of swizzled scales.
const SWIZZLED: [u64; 2] = [128, 4];

/// A matrix of scales or zero points.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    /// The index of the tensor.
    pub tensor: usize,
    /// The rows and columns for one matrix, in the orientation of that matrix.
    pub rows: u64,
    pub columns: u64,
    /// How the numbers are stored.
    pub encoding: GridEncoding,
    /// A factor for every number.
    pub factor: f64,
}

/// How the numbers of a grid are stored.
#[derive(Debug, Clone)]
pub(super) enum GridEncoding {
    /// As elements of a numeric type, row by row.
    Numbers,
    /// As elements of a numeric type, in rows of `row` elements that end with padding.
    Padded { row: u64 },
    /// As elements of a numeric type, column by column.
    Transposed,
    /// As exponents of two (E8M0, OCP Microscaling Formats 1.0, section 5.4.1), row by row.
    Exponents,
    /// As E4M3 codes, row by row.
    E4m3,
    /// As exponents or E4M3 codes, in blocks of 128 rows and 4 columns whose rows 0, 32, 64 and 96 are adjacent (the
    /// order that tensor cores need; cuBLAS, "1D block scaling factors layout").
    Swizzled { exponents: bool },
    /// As integer codes along each row of `row` units, with `add` added to each.
    PackedRows { bits: u64, unit_bits: u64, add: f64, places: Option<&'static [u8]>, row: u64 },
    /// As integer codes along each row, split into planes ([`split_code`]).
    Split { bits: u64 },
    /// As integer codes down each column in words: one stream of bits, or whole codes in each word.
    PackedColumns { bits: u64, stream: bool },
    /// As 8-bit indices into a table, scaled by block, with `offset` added to each.
    Nested { table: usize, scales: usize, block: u64, offset: f64 },
}

/// Returns the encoding of a tensor of scales by its type; `None` for unsupported types.
pub(super) fn encoding_of(tensor: &Tensor) -> Option<GridEncoding> {
    match tensor.dtype {
        dtype if NUMBERS.contains(&dtype) => Some(GridEncoding::Numbers),
        Dtype::F8_E8M0 => Some(GridEncoding::Exponents),
        Dtype::F8_E4M3 => Some(GridEncoding::E4m3),
        _ => None,
    }
}

/// Returns the number of words in a column of `rows` codes.
pub(super) fn column_words(rows: u64, bits: u64, stream: bool) -> u64 {
    match stream {
        true => rows.saturating_mul(bits).div_ceil(32),
        false => rows.div_ceil(32 / bits),
    }
}

/// Returns the value of an E4M3 code.
fn e4m3(code: u64) -> f64 {
    crate::values::float(Dtype::F8_E4M3, code)
}

/// Returns 2^(code - 127); NaN for the last code.
fn power(code: u64) -> f64 {
    match code {
        0xFF => f64::NAN,
        code => libm::ldexp(1.0, code as i32 - 127),
    }
}

impl Grid {
    /// Creates a grid without a factor.
    pub(super) fn new(tensor: usize, [rows, columns]: [u64; 2], encoding: GridEncoding) -> Self {
        Self { tensor, rows, columns, encoding, factor: 1.0 }
    }

    /// Returns the codes that are NaN, if the numbers are stored as codes.
    pub(super) fn nan_codes(&self) -> &'static [u8] {
        match self.encoding {
            GridEncoding::Exponents | GridEncoding::Swizzled { exponents: true } => &[0xFF],
            GridEncoding::E4m3 | GridEncoding::Swizzled { exponents: false } => &[0x7F, 0xFF],
            _ => &[],
        }
    }

    /// Returns all tensors that are read.
    pub(super) fn tensors(&self) -> Vec<usize> {
        match self.encoding {
            GridEncoding::Nested { table, scales, .. } => vec![self.tensor, table, scales],
            _ => vec![self.tensor],
        }
    }

    /// Returns the numbers of a range of rows and columns for matrix `matrix`, row-major.
    pub(super) fn load(
        &self,
        reader: &ElementReader<'_>,
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
                self.read(reader, self.columns, rows, columns, &mut numbers)?;
            }
            GridEncoding::Padded { row } => {
                let rows = base + rows.start..base + rows.end;
                self.read(reader, *row, rows, columns, &mut numbers)?;
            }
            GridEncoding::Transposed => {
                numbers.resize((width * height) as usize, 0.0);
                let base = matrix * self.columns;
                for (at, column) in columns.enumerate() {
                    let first = (base + column) * self.rows + rows.start;
                    let values = reader.values(self.tensor, first, height as usize)?;
                    for (row, value) in values.into_iter().enumerate() {
                        numbers[row * width as usize + at] = value;
                    }
                }
            }
            GridEncoding::Swizzled { exponents } => {
                numbers.resize((width * height) as usize, 0.0);
                self.unswizzle(reader, matrix, rows, columns, *exponents, &mut numbers)?;
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
                            let words = reader.codes(self.tensor, start + first, count as usize)?;
                            numbers.extend(columns.clone().map(|column| {
                                let word = words[(column / per_unit - first) as usize];
                                let place = u64::from(places[(column % per_unit) as usize]);
                                (word >> (place * bits) & mask) as f64 + add
                            }));
                        }
                        None => {
                            let first = columns.start * bits / unit_bits;
                            let count = (columns.end * bits).div_ceil(*unit_bits) - first + 1;
                            let words = reader.codes(self.tensor, start + first, count as usize)?;
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
                    let words = reader.codes(self.tensor, start, count as usize)?;
                    numbers.extend(columns.clone().map(|column| {
                        let block = (column / 32 - first) * bits;
                        split_code(*bits, column % 32, |word| words[(block + word) as usize]) as f64
                    }));
                }
            }
            GridEncoding::PackedColumns { bits, stream } => {
                let base = matrix * column_words(self.rows, *bits, *stream);
                let mask = (1u64 << bits) - 1;
                for row in rows {
                    let (word, shift) = match stream {
                        true => (row * bits / 32, row * bits % 32),
                        false => (row / (32 / bits), row % (32 / bits) * bits),
                    };
                    let read = |word: u64| {
                        let first = (base + word) * self.columns + columns.start;
                        reader.codes(self.tensor, first, width as usize)
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
                let table = reader.values(*table, 0, 256)?;
                let from = first / block;
                let outer = (first + count).div_ceil(*block) - from;
                let outer = reader.values(*scales, from, outer as usize)?;
                let codes = reader.codes(self.tensor, first, count as usize)?;
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

    /// Reads elements that are stored in order, from rows of `row` elements.
    fn read(
        &self,
        reader: &ElementReader<'_>,
        row: u64,
        rows: Range<u64>,
        columns: Range<u64>,
        numbers: &mut Vec<f64>,
    ) -> Result<(), FileError> {
        let mut bytes = Vec::new();
        reader.units_of_rows(self.tensor, row, rows, columns, &mut bytes)?;
        match self.encoding {
            GridEncoding::Exponents => {
                numbers.extend(bytes.into_iter().map(|code| power(code.into())))
            }
            GridEncoding::E4m3 => numbers.extend(bytes.into_iter().map(|code| e4m3(code.into()))),
            _ => numbers.extend(reader.decoded(self.tensor, &bytes)),
        }
        Ok(())
    }

    /// Reads swizzled numbers, block by block.
    fn unswizzle(
        &self,
        reader: &ElementReader<'_>,
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
                let codes = reader.codes(self.tensor, first, count)?;
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

    /// Returns the number of elements of a swizzled tensor for one matrix.
    pub(super) fn swizzled_len(rows: u64, columns: u64) -> u64 {
        let [high, wide] = SWIZZLED;
        rows.div_ceil(high).saturating_mul(columns.div_ceil(wide)).saturating_mul(high * wide)
    }
}
