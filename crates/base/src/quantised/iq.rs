//! Block-quantised types whose elements are points of a grid, or indexes into a table of uneven steps.
//!
//! The code of a grid element is the index of its magnitude in the alphabet of the type, and above it one bit:
//! the sign for IQ2 and IQ3; for IQ1 it says whether one eighth is subtracted or added.

use super::grids::{self, GRIDS};
use super::{
    BlockCodeValues, BlockFormat, GroupFactors, MAX_ELEMENTS, ScaleEncoding, is_extreme_4bit,
    never_extreme, runs_of_nibbles,
};
use super::{word, word32};

/// Three magnitudes, and bit 2 for the sign.
static IQ2: BlockCodeValues = signed(&[8, 25, 43, 0]);
/// Eight magnitudes, and bit 3 for the sign.
static IQ3_OF_XXS: BlockCodeValues = signed(&[4, 12, 20, 28, 36, 44, 52, 62]);
static IQ3_OF_S: BlockCodeValues = signed(&[1, 3, 5, 7, 9, 11, 13, 15]);
/// −1, 0 and 1 in eighths, plus one eighth, or minus one eighth where bit 2 is set.
static IQ1: BlockCodeValues = {
    let mut values = [0; 256];
    let eighths = [-8, 0, 8];
    let mut code = 0;
    while code < 3 {
        values[code] = eighths[code] + 1;
        values[code + 4] = eighths[code] - 1;
        code += 1;
    }
    values
};
static UNEVEN: BlockCodeValues = {
    let steps = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
    let mut values = [0; 256];
    let mut code = 0;
    while code < 16 {
        values[code] = steps[code];
        code += 1;
    }
    values
};

const fn signed(magnitudes: &[i8]) -> BlockCodeValues {
    let mut values = [0; 256];
    let mut code = 0;
    while code < magnitudes.len() {
        values[code] = magnitudes[code];
        values[code + magnitudes.len()] = -magnitudes[code];
        code += 1;
    }
    values
}

/// d, and for each 32 elements four bytes of points and a word of four times 7 signs and a scale.
pub(super) static IQ2_XXS: BlockFormat = BlockFormat {
    codes: 8,
    values: &IQ2,
    unit: -3,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: never_extreme,
    extract: |block, codes| {
        for (group, codes) in codes.chunks_exact_mut(32).enumerate() {
            let (points, word) = (&block[2 + 8 * group..], word32(block, 6 + 8 * group));
            for (i, codes) in codes.as_chunks_mut().0.iter_mut().enumerate() {
                let point = GRIDS[grids::IQ2_XXS + usize::from(points[i])];
                codes_of_grid8(point, seven_signs(word >> (7 * i)), codes);
            }
        }
    },
    factors: |block| odd_by(|group| word32(block, 6 + 8 * (group % 8)) >> 28),
};

/// d, 32 words of a point and 7 signs, 16 scales of 4 bits.
pub(super) static IQ2_XS: BlockFormat = BlockFormat {
    codes: 8,
    values: &IQ2,
    unit: -3,
    group: 16,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: never_extreme,
    extract: |block, codes| {
        for (i, codes) in codes.as_chunks_mut().0.iter_mut().enumerate() {
            let word = word(block, 2 + 2 * i);
            let point = GRIDS[grids::IQ2_XS + usize::from(word & 511)];
            codes_of_grid8(point, seven_signs(u32::from(word >> 9)), codes);
        }
    },
    factors: |block| odd_by(|group| nibble(&block[66..74], group)),
};

/// d, 32 bytes of points, 32 bytes of signs, two more bits of each point, 16 scales of 4 bits.
pub(super) static IQ2_S: BlockFormat = BlockFormat {
    codes: 8,
    values: &IQ2,
    unit: -3,
    group: 16,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: never_extreme,
    extract: |block, codes| {
        for (i, codes) in codes.as_chunks_mut().0.iter_mut().enumerate() {
            let high = usize::from(block[66 + i / 4] >> (2 * (i % 4)) & 3) << 8;
            let point = GRIDS[grids::IQ2_S + (usize::from(block[2 + i]) | high)];
            codes_of_grid8(point, block[34 + i], codes);
        }
    },
    factors: |block| odd_by(|group| nibble(&block[74..82], group)),
};

/// d, 64 bytes of points, and for each 32 elements a word of four times 7 signs and a scale.
pub(super) static IQ3_XXS: BlockFormat = BlockFormat {
    codes: 16,
    values: &IQ3_OF_XXS,
    unit: -2,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: never_extreme,
    extract: |block, codes| {
        for (i, codes) in codes.as_chunks_mut().0.iter_mut().enumerate() {
            let signs = seven_signs(word32(block, 66 + i / 4 * 4) >> (7 * (i % 4)));
            let points = [block[2 + 2 * i], block[3 + 2 * i]];
            codes_of_grid4(points.map(|at| GRIDS[grids::IQ3_XXS + usize::from(at)]), signs, codes);
        }
    },
    factors: |block| odd_by(|group| word32(block, 66 + 4 * (group % 8)) >> 28),
};

/// d, 64 bytes of points, one more bit of each, 32 bytes of signs, 8 scales of 4 bits.
pub(super) static IQ3_S: BlockFormat = BlockFormat {
    codes: 16,
    values: &IQ3_OF_S,
    unit: 0,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: never_extreme,
    extract: |block, codes| {
        for (i, codes) in codes.as_chunks_mut().0.iter_mut().enumerate() {
            let points = [2 * i, 2 * i + 1].map(|at| {
                let high = usize::from(block[66 + at / 8] >> (at % 8) & 1) << 8;
                GRIDS[grids::IQ3_S + (usize::from(block[2 + at]) | high)]
            });
            codes_of_grid4(points, block[74 + i], codes);
        }
    },
    factors: |block| odd_by(|group| nibble(&block[106..110], group % 8)),
};

/// d, 32 bytes of points, and for each 32 elements a word of three more bits of each point, a scale, and
/// the sign of the eighth.
pub(super) static IQ1_S: BlockFormat = BlockFormat {
    codes: 8,
    values: &IQ1,
    unit: -3,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: never_extreme,
    extract: |block, codes| {
        for (i, codes) in codes.as_chunks_mut().0.iter_mut().enumerate() {
            let word = word(block, 34 + i / 4 * 2);
            let high = usize::from(word >> (3 * (i % 4)) & 7) << 8;
            let point = GRIDS[grids::IQ1 + (usize::from(block[2 + i]) | high)];
            codes_of_grid8(point, if word >> 15 == 1 { 0xFF } else { 0 }, codes);
        }
    },
    factors: |block| odd_by(|group| u32::from(word(block, 34 + 2 * (group % 8)) >> 12 & 7)),
};

/// 32 bytes of points, for each point three more bits and the sign of its eighth, four words of three
/// scales and a nibble of d.
pub(super) static IQ1_M: BlockFormat = BlockFormat {
    codes: 8,
    values: &IQ1,
    unit: -3,
    group: 16,
    scale: ScaleEncoding::Nibbles(48),
    minimum: None,
    extreme: never_extreme,
    extract: |block, codes| {
        for (i, codes) in codes.as_chunks_mut().0.iter_mut().enumerate() {
            let nibble = nibble(&block[32..48], i) as usize;
            let point = GRIDS[grids::IQ1 + (usize::from(block[i]) | (nibble & 7) << 8)];
            codes_of_grid8(point, if nibble & 8 != 0 { 0xFF } else { 0 }, codes);
        }
    },
    factors: |block| {
        odd_by(|group| u32::from(word(block, 48 + group / 4 * 2) >> (3 * (group % 4)) & 7))
    },
};

/// d, 16 bytes of two codes.
pub(super) static IQ4_NL: BlockFormat = BlockFormat {
    codes: 16,
    values: &UNEVEN,
    unit: 0,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: is_extreme_4bit,
    extract: |block, codes| runs_of_nibbles(&block[2..18], 16, codes),
    factors: super::unit_factors,
};

/// d, the high bits of the scales, their low ones, 128 bytes of two codes.
pub(super) static IQ4_XS: BlockFormat = BlockFormat {
    codes: 16,
    values: &UNEVEN,
    unit: 0,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: is_extreme_4bit,
    extract: |block, codes| runs_of_nibbles(&block[8..136], 16, codes),
    factors: |block| {
        let high = word(block, 2);
        let mut factors = GroupFactors::default();
        for (group, factor) in factors.scale[..8].iter_mut().enumerate() {
            let low = nibble(&block[4..8], group);
            *factor = (low | u32::from(high >> (2 * group) & 3) << 4) as i32 - 32;
        }
        factors
    },
};

/// Returns the nibble with this index; the low nibble of a byte comes first.
#[inline(always)]
fn nibble(bytes: &[u8], at: usize) -> u32 {
    u32::from(bytes[at / 2] >> (at % 2 * 4) & 15)
}

/// Factors that are odd numbers: twice the stored number plus one.
#[inline(always)]
fn odd_by(scale: impl Fn(usize) -> u32) -> GroupFactors {
    let odd = |group| 2 * scale(group) as i32 + 1;
    GroupFactors { scale: std::array::from_fn(odd), ..GroupFactors::default() }
}

/// Completes seven stored signs with the eighth, which makes the number of minus signs even.
#[inline(always)]
fn seven_signs(word: u32) -> u8 {
    let seven = word as u8 & 127;
    seven | (seven.count_ones() as u8 & 1) << 7
}

/// Writes the codes of a point of eight elements; bit i of `bits` is the highest bit of code i.
#[inline(always)]
fn codes_of_grid8(point: u16, bits: u8, codes: &mut [u8; 8]) {
    // Two bits to a byte, by halves.
    let mut spread = u64::from(point);
    spread = (spread | spread << 24) & 0x0000_00FF_0000_00FF;
    spread = (spread | spread << 12) & 0x000F_000F_000F_000F;
    spread = (spread | spread << 6) & 0x0303_0303_0303_0303;
    *codes = (spread | one_a_byte(bits) << 2).to_le_bytes();
}

/// Writes the codes of two points of four elements with their signs.
#[inline(always)]
fn codes_of_grid4(points: [u16; 2], signs: u8, codes: &mut [u8; 8]) {
    // Four bits to a byte.
    let mut spread = u64::from(points[0]) | u64::from(points[1]) << 32;
    spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF;
    spread = (spread | spread << 4) & 0x0707_0707_0707_0707;
    *codes = (spread | one_a_byte(signs) << 3).to_le_bytes();
}

/// Moves bit i to byte i.
#[inline(always)]
fn one_a_byte(bits: u8) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let places = (u64::from(bits) * ONES) & 0x8040_2010_0804_0201;
    // A byte that is not zero carries into its highest bit.
    (places + 0x7F * ONES) >> 7 & ONES
}

// An array of codes consists of whole groups of eight.
const _: () = assert!(MAX_ELEMENTS.is_multiple_of(8));
