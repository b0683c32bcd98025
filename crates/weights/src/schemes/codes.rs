//! How codes of a few bits lie in the elements of a tensor, and how they are taken out.
//!
//! Codes are those of a matrix as the library has it when it packs. An element of the tensor that holds several
//! of them is a unit here: a byte, or a word.

use super::kernels::{UnpackCrossing, UnpackNibbles, UnpackOdd, UnpackShifted};
use super::table::CodeLookup;
use crate::element_reader::ElementReader;
use std::ops::Range;
use tensorseal_engine::measure::isa::vectorised;
use tensorseal_engine::stream::files::FileError;

/// Codes that are taken out at once: they are whole bytes, whatever their bits.
const TOGETHER: usize = 8;
/// Codes that are whole units, whatever their bits.
const ALIGNED: u64 = 32;

/// Where the codes of a matrix are.
#[derive(Debug, Clone, Copy)]
pub(super) struct PackedCodes {
    /// The tensor.
    pub tensor: usize,
    /// Bytes of one of its units: 1, 2 or 4.
    pub unit: u64,
    /// Units of a row of the tensor.
    pub row: u64,
    /// Rows of the tensor that hold one matrix.
    pub rows: u64,
    /// How units hold codes.
    pub packing: CodePacking,
}

/// How units hold codes, of at most eight bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodePacking {
    /// A row is one stream of bits, the lowest of a byte first.
    RowStream { bits: u32 },
    /// Some columns in each unit, and bits that are left over: column `c` of a unit has the bits from
    /// `bits * places[c]` on.
    Words { bits: u32, places: &'static [u8] },
    /// A column is one stream of bits over the words of several rows, the lowest of a word first.
    ColumnStream { bits: u32 },
    /// A column is in words of several rows, and each 32 codes in as many words as they have bits: first words of their
    /// lower bits, then of the higher ones ([`planes`]).
    Split { bits: u32 },
    /// Some rows in each unit: row `r` is in tensor row `r % rows`, the first ones in the lowest bits or in the
    /// highest.
    Planes { bits: u32, planes: u64, high_first: bool },
    /// Some rows that follow one another in each unit, the first in the lowest bits.
    Interleaved { bits: u32, planes: u64 },
}

/// Columns of a unit in their order.
pub(super) const IN_ORDER: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Two codes in a byte, the first in its upper half.
pub(super) const HIGH_FIRST: &[u8] = &[1, 0];

impl PackedCodes {
    /// The values of columns of some rows of matrix `matrix`, row-major, into `out`, which has their number of
    /// elements. What the tensor does not have is code zero.
    pub(super) fn unpack(
        &self,
        stored: &ElementReader<'_>,
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
                let read = self.read(stored, base + rows.start..base + rows.end, first..last)?;
                let expand = Unpacker::new(bits as u32, values);
                let skip = (columns.start - aligned) as usize;
                self.each_row(&read, out, columns, |units, out| expand.stream(units, skip, out));
            }
            CodePacking::Words { bits, places } => {
                let per_unit = places.len() as u64;
                let (first, last) = (columns.start / per_unit, columns.end.div_ceil(per_unit));
                let read = self.read(stored, base + rows.start..base + rows.end, first..last)?;
                let skip = (columns.start - first * per_unit) as usize;
                let unit = self.unit as usize;
                let turned = (places == HIGH_FIRST && unit == 1 && bits == 4)
                    .then(|| expanded::<2>(values, true));
                let eight: Option<[u8; 8]> =
                    places.try_into().ok().filter(|_| bits == 4 && unit == 4);
                self.each_row(&read, out, columns, |units, out| match (&turned, eight) {
                    (Some(table), _) => several(units, skip, table, out),
                    (None, Some(places)) if skip == 0 => eights(units, places, values, out),
                    _ => words(units, unit, bits, places, skip, values, out),
                });
            }
            CodePacking::ColumnStream { bits } => {
                // Of words of 32 bits, as `fit` has seen.
                let wide = u64::from(bits);
                let (first, last) = (rows.start * wide / 32, (rows.end * wide).div_ceil(32));
                let read = self.read(stored, base + first..base + last, columns.clone())?;
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
                    self.read(stored, base + first * bits..base + last * bits, columns.clone())?;
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
                    let read = self.read(stored, from..from + count, columns.clone())?;
                    let plane = if high_first { planes.saturating_sub(plane + 1) } else { plane };
                    let (units, unit, shift) = (&read[..], self.unit as usize, plane as u32 * bits);
                    vectorised(UnpackShifted { units, unit, shift, bits, values, out: now });
                    row += count;
                }
            }
            CodePacking::Interleaved { bits, planes } => {
                let width = (columns.end - columns.start) as usize;
                let (first, last) = (rows.start / planes, rows.end.div_ceil(planes));
                let read = self.read(stored, base + first..base + last, columns)?;
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

    /// The bytes of some units of some rows of the tensor.
    fn read(
        &self,
        stored: &ElementReader<'_>,
        rows: Range<u64>,
        units: Range<u64>,
    ) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        stored.units_of_rows(self.tensor, self.row, rows, units, &mut bytes)?;
        Ok(bytes)
    }

    /// The units of each row that was read beside the columns that come of it.
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

/// Width and lowest bit of the planes that codes of so many bits are split into (GPTQModel's `gptq_p`).
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

/// Code `at` of 32 that are split, by the words they are in.
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

/// The bits of a unit of up to four bytes.
#[inline(always)]
fn word(unit: &[u8]) -> u64 {
    match *unit {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        _ => 0,
    }
}

/// Codes of whole words, eight in each.
fn eights(units: &[u8], places: [u8; 8], values: &CodeLookup, out: &mut [f32]) {
    let (whole, rest) = out.as_chunks_mut::<8>();
    let (units, last) = units.as_chunks::<4>().0.split_at(whole.len());
    vectorised(UnpackNibbles { words: units, places: places.map(u32::from), values, out: whole });
    if let Some(last) = last.first() {
        words(last, 4, 4, &places, 0, values, rest);
    }
}

/// Codes of units that hold several, in any order.
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

/// Streams of bits, by the bytes that hold whole codes where there are such.
enum Unpacker<'v> {
    One(&'v CodeLookup),
    Two(Box<[[f32; 2]; 256]>),
    Four(Box<[[f32; 4]; 256]>),
    /// Eight codes in as many bytes as they have bits.
    Any(u32, &'v CodeLookup),
}

impl<'v> Unpacker<'v> {
    fn new(bits: u32, values: &'v CodeLookup) -> Self {
        match bits {
            8 => Unpacker::One(values),
            4 => Unpacker::Two(Box::new(expanded(values, false))),
            2 => Unpacker::Four(Box::new(expanded(values, false))),
            _ => Unpacker::Any(bits, values),
        }
    }

    /// The codes of a row from number `skip` on.
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

/// Codes that are no parts of bytes, from a whole number of bytes on.
fn odd<const BITS: usize>(bytes: &[u8], values: &CodeLookup, out: &mut [f32]) {
    let (whole, rest) = out.as_chunks_mut::<TOGETHER>();
    let (now, last) = bytes.split_at((whole.len() * BITS).min(bytes.len()));
    vectorised(UnpackOdd::<BITS> { bytes: now.as_chunks().0, values, out: whole });
    any(BITS, last, 0, values, rest);
}

/// The same for any number of bits, and from any code on.
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

/// For each byte the values of its codes, the lowest bits first, or the highest.
fn expanded<const CODES: usize>(values: &CodeLookup, high_first: bool) -> [[f32; CODES]; 256] {
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
