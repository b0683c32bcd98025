//! Unpacks codes of a few bits from the elements of a tensor.
//!
//! Codes belong to a matrix with the orientation that the library packs. An element of the tensor that contains several
//! codes is called a unit here: a byte or a word.

use super::kernels::{UnpackCrossing, UnpackNibbles, UnpackOdd, UnpackShifted};
use super::table::CodeLookup;
use crate::element_reader::ElementReader;
use std::ops::Range;
use tensorseal_engine::measure::isa::vectorised;
use tensorseal_engine::stream::files::FileError;

/// The number of codes that are unpacked at once: whole bytes for any number of bits.
const TOGETHER: usize = 8;
/// A number of codes that fills whole units for any number of bits.
const ALIGNED: u64 = 32;

/// Where the codes of a matrix are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct PackedCodes {
    /// The index of the tensor.
    pub tensor: usize,
    /// The number of bytes in a unit: 1, 2 or 4.
    pub unit: u64,
    /// The number of units in a row of the tensor.
    pub row: u64,
    /// The number of rows of the tensor for one matrix.
    pub rows: u64,
    /// How codes are packed into units.
    pub packing: CodePacking,
}

/// How codes of at most eight bits are packed into units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodePacking {
    /// Each row is one stream of bits, the lowest bit of a byte first.
    RowStream { bits: u32 },
    /// Each unit contains several columns, and perhaps unused bits: column `c` of a unit begins at bit
    /// `bits * places[c]`.
    Words { bits: u32, places: &'static [u8] },
    /// Each column is one stream of bits in the words of several rows, the lowest bit of a word first.
    ColumnStream { bits: u32 },
    /// Each 32 codes of a column are in as many words as they have bits, one below the other: first words with their
    /// lower bits, then with the higher ones ([`planes`]).
    Split { bits: u32 },
    /// Each unit contains several rows: row `r` is in tensor row `r % rows`, the first ones in the lowest or in the
    /// highest bits.
    Planes { bits: u32, planes: u64, high_first: bool },
    /// Each unit contains several consecutive rows, the first one in the lowest bits.
    Interleaved { bits: u32, planes: u64 },
}

/// The places of columns in ascending order.
pub(super) const IN_ORDER: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// The places of two codes in a byte, the first one in the upper half.
pub(super) const HIGH_FIRST: &[u8] = &[1, 0];

impl PackedCodes {
    /// Unpacks the values of a range of rows and columns of matrix `matrix`, row-major, into `out`, which has that number
    /// of elements. Codes past the end of the tensor are zero.
    pub(super) fn unpack(
        &self,
        reader: &ElementReader<'_>,
        matrix: u64,
        rows: Range<u64>,
        columns: Range<u64>,
        values: &CodeLookup,
        out: &mut [f32],
    ) -> Result<(), FileError> {
        if out.is_empty() {
            return Ok(());
        }
        let base = matrix * self.rows;
        match self.packing {
            CodePacking::RowStream { bits } => {
                let bits = u64::from(bits);
                let aligned = columns.start / ALIGNED * ALIGNED;
                let first = aligned * bits / 8 / self.unit;
                let last = (columns.end * bits).div_ceil(8 * self.unit);
                let read = self.read(reader, base + rows.start..base + rows.end, first..last)?;
                let expand = Unpacker::new(bits as u32, values);
                let skip = (columns.start - aligned) as usize;
                self.each_row(&read, out, columns, |units, out| expand.stream(units, skip, out));
            }
            CodePacking::Words { bits, places } => {
                let per_unit = places.len() as u64;
                let (first, last) = (columns.start / per_unit, columns.end.div_ceil(per_unit));
                let read = self.read(reader, base + rows.start..base + rows.end, first..last)?;
                let skip = (columns.start - first * per_unit) as usize;
                let unit = self.unit as usize;
                let high_first = (places == HIGH_FIRST && unit == 1 && bits == 4)
                    .then(|| byte_table::<2>(values, true));
                let eight: Option<[u8; 8]> =
                    places.try_into().ok().filter(|_| bits == 4 && unit == 4);
                self.each_row(&read, out, columns, |units, out| match (&high_first, eight) {
                    (Some(table), _) => several(units, skip, table, out),
                    (None, Some(places)) if skip == 0 => eights(units, places, values, out),
                    _ => words(units, unit, bits, places, skip, values, out),
                });
            }
            CodePacking::ColumnStream { bits } => {
                // Units have 32 bits, which `fit` has checked.
                let wide = u64::from(bits);
                let (first, last) = (rows.start * wide / 32, (rows.end * wide).div_ceil(32));
                let read = self.read(reader, base + first..base + last, columns.clone())?;
                let width = (columns.end - columns.start) as usize;
                for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                    let bit = row * wide - first * 32;
                    let (at, shift) = ((bit / 32) as usize * width * 4, (bit % 32) as u32);
                    let low = &read[at..at + width * 4];
                    if shift + bits <= 32 {
                        vectorised(UnpackShifted { units: low, unit: 4, shift, bits, values, out });
                    } else {
                        let high = &read[at + width * 4..at + width * 8];
                        vectorised(UnpackCrossing { low, high, shift, bits, values, out });
                    }
                }
            }
            CodePacking::Split { bits } => {
                let bits = u64::from(bits);
                let (first, last) = (rows.start / 32, rows.end.div_ceil(32));
                let read =
                    self.read(reader, base + first * bits..base + last * bits, columns.clone())?;
                let width = (columns.end - columns.start) as usize;
                for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                    let block = ((row / 32 - first) * bits) as usize * width;
                    for (column, out) in out.iter_mut().enumerate() {
                        let code = split_code(bits, row % 32, |word| {
                            let at = (block + word as usize * width + column) * 4;
                            read.get(at..at + 4).map_or(0, self::word)
                        });
                        *out = values.by_code[code as usize & 255];
                    }
                }
            }
            CodePacking::Planes { bits, planes, high_first } => {
                let width = (columns.end - columns.start) as usize;
                let mut row = rows.start;
                let mut rest = out;
                while row < rows.end {
                    let (plane, within) = (row / self.rows, row % self.rows);
                    let count = (self.rows - within).min(rows.end - row);
                    let (now, later) = rest.split_at_mut(count as usize * width);
                    rest = later;
                    let from = base + within;
                    let read = self.read(reader, from..from + count, columns.clone())?;
                    let plane = if high_first { planes.saturating_sub(plane + 1) } else { plane };
                    let (units, unit, shift) = (&read[..], self.unit as usize, plane as u32 * bits);
                    vectorised(UnpackShifted { units, unit, shift, bits, values, out: now });
                    row += count;
                }
            }
            CodePacking::Interleaved { bits, planes } => {
                let width = (columns.end - columns.start) as usize;
                let (first, last) = (rows.start / planes, rows.end.div_ceil(planes));
                let read = self.read(reader, base + first..base + last, columns)?;
                let row_bytes = width * self.unit as usize;
                for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                    let at = (row / planes - first) as usize * row_bytes;
                    let units = &read[at..at + row_bytes];
                    let (unit, shift) = (self.unit as usize, (row % planes) as u32 * bits);
                    vectorised(UnpackShifted { units, unit, shift, bits, values, out });
                }
            }
        }
        Ok(())
    }

    /// Reads a range of units of a range of rows of the tensor.
    fn read(
        &self,
        reader: &ElementReader<'_>,
        rows: Range<u64>,
        units: Range<u64>,
    ) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        reader.units_of_rows(self.tensor, self.row, rows, units, &mut bytes)?;
        Ok(bytes)
    }

    /// Calls `unpack` with the units of each row and the columns to fill.
    fn each_row(
        &self,
        read: &[u8],
        out: &mut [f32],
        columns: Range<u64>,
        unpack: impl Fn(&[u8], &mut [f32]),
    ) {
        let width = (columns.end - columns.start) as usize;
        let rows = out.len() / width;
        let row_bytes = read.len() / rows.max(1);
        for (units, out) in read.chunks_exact(row_bytes).zip(out.chunks_exact_mut(width)) {
            unpack(units, out);
        }
    }
}

/// Returns the width and lowest bit of each plane into which codes of this number of bits are split (`gptq_p` of
/// GPTQModel).
fn planes(bits: u64) -> &'static [(u64, u64)] {
    match bits {
        1 => &[(1, 0)],
        2 => &[(2, 0)],
        3 => &[(2, 0), (1, 2)],
        4 => &[(4, 0)],
        5 => &[(4, 0), (1, 4)],
        6 => &[(4, 0), (2, 4)],
        7 => &[(4, 0), (2, 4), (1, 6)],
        _ => &[(8, 0)],
    }
}

/// Returns code `at` of 32 that are split into planes, given their words.
pub(super) fn split_code(bits: u64, at: u64, word: impl Fn(u64) -> u64) -> u64 {
    let (mut code, mut first) = (0, 0);
    for (width, lowest) in planes(bits) {
        let bit = at * width;
        let part = word(first + bit / 32) >> (bit % 32) & ((1 << width) - 1);
        code |= part << lowest;
        first += width;
    }
    code
}

/// Returns the bits of a unit of up to four bytes.
#[inline(always)]
fn word(unit: &[u8]) -> u64 {
    match *unit {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        _ => 0,
    }
}

/// Unpacks words of eight codes.
fn eights(units: &[u8], places: [u8; 8], values: &CodeLookup, out: &mut [f32]) {
    let (whole, rest) = out.as_chunks_mut::<8>();
    let (units, last) = units.as_chunks::<4>().0.split_at(whole.len());
    vectorised(UnpackNibbles { words: units, places: places.map(u32::from), values, out: whole });
    if let Some(last) = last.first() {
        words(last, 4, 4, &places, 0, values, rest);
    }
}

/// Unpacks units that contain several codes, in any order.
fn words(
    units: &[u8],
    unit: usize,
    bits: u32,
    places: &[u8],
    skip: usize,
    values: &CodeLookup,
    out: &mut [f32],
) {
    let mask = (1u64 << bits) - 1;
    let mut skip = skip;
    let mut rest = out;
    for unit in units.chunks_exact(unit) {
        let word = word(unit);
        let count = (places.len() - skip).min(rest.len());
        let (now, later) = rest.split_at_mut(count);
        for (out, place) in now.iter_mut().zip(&places[skip..]) {
            *out = values.by_code[(word >> (u32::from(*place) * bits) & mask) as usize & 255];
        }
        (rest, skip) = (later, 0);
    }
}

/// Unpacks streams of bits, with tables of bytes if bytes contain whole codes.
enum Unpacker<'v> {
    One(&'v CodeLookup),
    Two(Box<[[f32; 2]; 256]>),
    Four(Box<[[f32; 4]; 256]>),
    /// Eight codes are in as many bytes as they have bits.
    Any(u32, &'v CodeLookup),
}

impl<'v> Unpacker<'v> {
    fn new(bits: u32, values: &'v CodeLookup) -> Self {
        match bits {
            8 => Unpacker::One(values),
            4 => Unpacker::Two(Box::new(byte_table(values, false))),
            2 => Unpacker::Four(Box::new(byte_table(values, false))),
            _ => Unpacker::Any(bits, values),
        }
    }

    /// Unpacks the codes of a row from number `skip` on.
    fn stream(&self, bytes: &[u8], skip: usize, out: &mut [f32]) {
        match self {
            Unpacker::One(values) => {
                for (out, byte) in out.iter_mut().zip(bytes.iter().skip(skip)) {
                    *out = values.by_code[usize::from(*byte)];
                }
            }
            Unpacker::Two(values) => several(bytes, skip, values, out),
            Unpacker::Four(values) => several(bytes, skip, values, out),
            Unpacker::Any(3, values) if skip == 0 => odd::<3>(bytes, values, out),
            Unpacker::Any(5, values) if skip == 0 => odd::<5>(bytes, values, out),
            Unpacker::Any(6, values) if skip == 0 => odd::<6>(bytes, values, out),
            Unpacker::Any(bits, values) => any(*bits as usize, bytes, skip, values, out),
        }
    }
}

/// Unpacks codes that cross bytes, beginning with a whole byte.
fn odd<const BITS: usize>(bytes: &[u8], values: &CodeLookup, out: &mut [f32]) {
    let (whole, rest) = out.as_chunks_mut::<TOGETHER>();
    let (now, last) = bytes.split_at((whole.len() * BITS).min(bytes.len()));
    vectorised(UnpackOdd::<BITS> { bytes: now.as_chunks().0, values, out: whole });
    any(BITS, last, 0, values, rest);
}

/// Unpacks codes of any number of bits, beginning with code `skip`.
fn any(bits: usize, bytes: &[u8], skip: usize, values: &CodeLookup, out: &mut [f32]) {
    let mask = (1u64 << bits) - 1;
    let mut skip = skip;
    let mut rest = out;
    for eight in bytes.chunks(bits) {
        if skip >= TOGETHER {
            skip -= TOGETHER;
            continue;
        }
        let mut window = [0; 8];
        window[..eight.len()].copy_from_slice(eight);
        let window = u64::from_le_bytes(window);
        let count = (TOGETHER - skip).min(rest.len());
        let (now, later) = rest.split_at_mut(count);
        for (out, at) in now.iter_mut().zip(skip..) {
            *out = values.by_code[(window >> (at * bits) & mask) as usize & 255];
        }
        (rest, skip) = (later, 0);
    }
}

/// Returns the values of the codes in each byte, the lowest or the highest bits first.
fn byte_table<const CODES: usize>(values: &CodeLookup, high_first: bool) -> [[f32; CODES]; 256] {
    let bits = 8 / CODES;
    let mut table = [[0.0; CODES]; 256];
    for (byte, codes) in table.iter_mut().enumerate() {
        for (at, value) in codes.iter_mut().enumerate() {
            *value = values.by_code[byte >> (at * bits) & ((1 << bits) - 1)];
        }
        if high_first {
            codes.reverse();
        }
    }
    table
}

fn several<const CODES: usize>(
    bytes: &[u8],
    skip: usize,
    table: &[[f32; CODES]; 256],
    out: &mut [f32],
) {
    let mut bytes = &bytes[(skip / CODES).min(bytes.len())..];
    let mut out = out;
    if let (within @ 1.., Some((first, rest))) = (skip % CODES, bytes.split_first()) {
        let codes = &table[usize::from(*first)][within..];
        let count = codes.len().min(out.len());
        let (now, later) = out.split_at_mut(count);
        now.copy_from_slice(&codes[..count]);
        (bytes, out) = (rest, later);
    }
    let (whole, rest) = out.as_chunks_mut::<CODES>();
    for (out, byte) in whole.iter_mut().zip(bytes) {
        *out = table[usize::from(*byte)];
    }
    if let Some(byte) = bytes.get(whole.len()) {
        let count = rest.len();
        rest.copy_from_slice(&table[usize::from(*byte)][..count]);
    }
}
