//! The loops that unpack and scale codes, each compiled for the instruction sets of the processor.

use super::table::CodeLookup;
use tensorseal_engine::measure::isa::VectorKernel;

/// Unpacks one code from the same place of each unit.
pub(super) struct UnpackShifted<'a> {
    /// The units, of `unit` bytes each.
    pub units: &'a [u8],
    pub unit: usize,
    /// The lowest bit of the code.
    pub shift: u32,
    pub bits: u32,
    pub values: &'a CodeLookup,
    pub out: &'a mut [f32],
}

impl VectorKernel for UnpackShifted<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { units, unit, shift, bits, values, out } = self;
        let mask = (1u32 << bits) - 1;
        match (unit, values.zero_point) {
            (1, Some(less)) => {
                for (out, unit) in out.iter_mut().zip(units) {
                    *out = (u32::from(*unit) >> shift & mask) as f32 - less;
                }
            }
            (1, None) => {
                for (out, unit) in out.iter_mut().zip(units) {
                    *out = values.by_code[(u32::from(*unit) >> shift & mask) as usize & 255];
                }
            }
            (4, Some(less)) => {
                for (out, unit) in out.iter_mut().zip(units.as_chunks::<4>().0) {
                    // Codes have at most eight bits, so a signed conversion is correct, which every processor has.
                    *out = (u32::from_le_bytes(*unit) >> shift & mask) as i32 as f32 - less;
                }
            }
            (4, None) => {
                for (out, unit) in out.iter_mut().zip(units.as_chunks::<4>().0) {
                    *out =
                        values.by_code[(u32::from_le_bytes(*unit) >> shift & mask) as usize & 255];
                }
            }
            _ => out.fill(f32::NAN),
        }
    }
}

/// Unpacks codes that begin in one word and end in another.
pub(super) struct UnpackCrossing<'a> {
    pub low: &'a [u8],
    pub high: &'a [u8],
    /// The lowest bit of the code in the first word, not zero.
    pub shift: u32,
    pub bits: u32,
    pub values: &'a CodeLookup,
    pub out: &'a mut [f32],
}

impl VectorKernel for UnpackCrossing<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mask = (1u32 << self.bits) - 1;
        let both = self.low.as_chunks::<4>().0.iter().zip(self.high.as_chunks::<4>().0);
        for (out, (low, high)) in self.out.iter_mut().zip(both) {
            let (low, high) = (u32::from_le_bytes(*low), u32::from_le_bytes(*high));
            let code = (low >> self.shift | high << (32 - self.shift)) & mask;
            *out = self.values.by_code[code as usize & 255];
        }
    }
}

/// Unpacks eight 4-bit codes from each word, code `c` from place `places[c]`.
pub(super) struct UnpackNibbles<'a> {
    pub words: &'a [[u8; 4]],
    pub places: [u32; 8],
    pub values: &'a CodeLookup,
    pub out: &'a mut [[f32; 8]],
}

impl VectorKernel for UnpackNibbles<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (out, word) in self.out.iter_mut().zip(self.words) {
            let word = u32::from_le_bytes(*word);
            match self.values.zero_point {
                Some(less) => {
                    for (out, place) in out.iter_mut().zip(self.places) {
                        *out = (word >> (place * 4) & 15) as i32 as f32 - less;
                    }
                }
                None => {
                    for (out, place) in out.iter_mut().zip(self.places) {
                        *out = self.values.by_code[(word >> (place * 4) & 15) as usize];
                    }
                }
            }
        }
    }
}

/// Unpacks eight codes from each group of bytes, which has as many bytes as codes have bits.
pub(super) struct UnpackOdd<'a, const BITS: usize> {
    pub bytes: &'a [[u8; BITS]],
    pub values: &'a CodeLookup,
    pub out: &'a mut [[f32; 8]],
}

impl<const BITS: usize> VectorKernel for UnpackOdd<'_, BITS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mask = (1u64 << BITS) - 1;
        for (out, bytes) in self.out.iter_mut().zip(self.bytes) {
            let mut window = [0; 8];
            window[..BITS].copy_from_slice(bytes);
            let window = u64::from_le_bytes(window);
            for (out, at) in out.iter_mut().zip(0..) {
                *out = self.values.by_code[(window >> (at * BITS) & mask) as usize & 255];
            }
        }
    }
}

/// Scales a row with one number for each column.
pub(super) struct ScaleColumns<'a> {
    pub scales: &'a [f32],
    /// The zero points: none, or as many as scales.
    pub zeros: &'a [f32],
    /// Whether zero points are added after scaling; otherwise they are subtracted before.
    pub after: bool,
    pub out: &'a mut [f32],
}

impl VectorKernel for ScaleColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { scales, zeros, after, out } = self;
        if zeros.is_empty() {
            return out.iter_mut().zip(scales).for_each(|(value, scale)| *value *= scale);
        }
        let all = out.iter_mut().zip(scales.iter().zip(zeros));
        match after {
            true => {
                for (value, (scale, zero)) in all {
                    *value = *value * scale + zero;
                }
            }
            false => {
                for (value, (scale, zero)) in all {
                    *value = (*value - zero) * scale;
                }
            }
        }
    }
}

/// Scales a row with one number for each `wide` columns; the first group has `skip` columns less.
pub(super) struct ScaleGroups<'a> {
    pub scales: &'a [f32],
    /// The zero points: none, or as many as scales.
    pub zeros: &'a [f32],
    /// Whether zero points are added after scaling; otherwise they are subtracted before.
    pub after: bool,
    pub skip: usize,
    pub wide: usize,
    pub out: &'a mut [f32],
}

impl VectorKernel for ScaleGroups<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { scales, zeros, after, skip, wide, out } = self;
        let mut rest = out;
        let mut count = wide - skip;
        for (at, scale) in scales.iter().enumerate() {
            let (now, later) = rest.split_at_mut(count.min(rest.len()));
            match (zeros.get(at), after) {
                (None, _) => now.iter_mut().for_each(|value| *value *= scale),
                (Some(zero), false) => {
                    now.iter_mut().for_each(|value| *value = (*value - zero) * scale);
                }
                (Some(zero), true) => {
                    now.iter_mut().for_each(|value| *value = *value * scale + zero);
                }
            }
            (rest, count) = (later, wide);
        }
    }
}

/// Transposes a strip of rows of `high` elements to columns.
pub(super) struct TransposeStrip<'a> {
    pub from: &'a [f32],
    pub high: usize,
    /// The number of elements in a row of the output.
    pub stride: usize,
    /// The output, from the first of the columns on.
    pub out: &'a mut [f32],
}

impl VectorKernel for TransposeStrip<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { from, high, stride, out } = self;
        let wide = from.len() / high.max(1);
        let squares = [wide / 8 * 8, high / 8 * 8];
        for column in (0..squares[0]).step_by(8) {
            let rows: [&[f32]; 8] =
                std::array::from_fn(|at| &from[(column + at) * high..(column + at + 1) * high]);
            for row in (0..squares[1]).step_by(8) {
                let mut values = [[0.0f32; 8]; 8];
                for (at, line) in rows.iter().enumerate() {
                    for (value, it) in values.iter_mut().zip(&line[row..row + 8]) {
                        value[at] = *it;
                    }
                }
                for (at, line) in values.iter().enumerate() {
                    let to = (row + at) * stride + column;
                    out[to..to + 8].copy_from_slice(line);
                }
            }
        }
        for (column, line) in from.chunks_exact(high.max(1)).enumerate() {
            let first = if column < squares[0] { squares[1] } else { 0 };
            for (row, value) in line.iter().enumerate().skip(first) {
                out[row * stride + column] = *value;
            }
        }
    }
}
