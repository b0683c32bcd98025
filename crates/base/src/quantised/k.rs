//! Blocks of 256 whose groups have quantised scales and minima.

use super::{
    Factors, Format, MOST_ELEMENTS, Scale, Values, ends4, ends5, legacy, less, never, plain,
};
use super::{runs_of_nibbles, runs_of_pairs};

static FROM_0: Values = less(0);
static FROM_4: Values = less(4);
static FROM_32: Values = less(32);

/// 16 bytes of scale (low half) and minimum, 64 bytes of four codes, d, dmin.
pub static Q2_K: Format = Format {
    codes: 4,
    values: &FROM_0,
    unit: 0,
    group: 16,
    scale: Scale::F16(80),
    minimum: Some(82),
    extreme: never,
    extract: |block, codes| runs_of_pairs(&block[16..80], codes),
    factors: |block| {
        let mut factors = Factors::default();
        for (group, byte) in block[..16].iter().enumerate() {
            factors.scale[group] = i32::from(byte & 15);
            factors.minimum[group] = i32::from(byte >> 4);
        }
        factors
    },
};

/// 32 bytes of highest bits, 64 bytes of the four lower ones, 12 bytes of scales, d.
pub static Q3_K: Format = Format {
    codes: 8,
    values: &FROM_4,
    unit: 0,
    group: 16,
    scale: Scale::F16(108),
    minimum: None,
    extreme: never,
    extract: |block, codes| {
        runs_of_pairs(&block[32..96], codes);
        eighths(&block[..32], 2, codes);
    },
    factors: |block| {
        let scales = &block[96..108];
        let mut factors = Factors::default();
        for (group, factor) in factors.scale.iter_mut().enumerate() {
            let low = scales[group % 8] >> (group / 8 * 4) & 15;
            let high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
            *factor = i32::from(low | high << 4) - 32;
        }
        factors
    },
};

/// d, dmin, 12 bytes of scales and minima, 128 bytes of two codes.
pub static Q4_K: Format = Format {
    codes: 16,
    values: &FROM_0,
    unit: 0,
    group: 32,
    scale: Scale::F16(0),
    minimum: Some(2),
    extreme: ends4,
    extract: |block, codes| runs_of_nibbles(&block[16..144], 32, codes),
    factors: sixes,
};

/// d, dmin, 12 bytes of scales and minima, 32 bytes of highest bits, 128 bytes of the lower ones.
pub static Q5_K: Format = Format {
    codes: 32,
    values: &FROM_0,
    unit: 0,
    group: 32,
    scale: Scale::F16(0),
    minimum: Some(2),
    extreme: ends5,
    extract: |block, codes| {
        runs_of_nibbles(&block[48..176], 32, codes);
        eighths(&block[16..48], 4, codes);
    },
    factors: sixes,
};

/// 128 bytes of lower halves, 64 bytes of the two highest bits, 16 signed scales, d.
pub static Q6_K: Format = Format {
    codes: 64,
    values: &FROM_32,
    unit: 0,
    group: 16,
    scale: Scale::F16(208),
    minimum: None,
    extreme: |code| code == 0 || code == 63,
    extract: |block, codes| {
        let mut high = [0; MOST_ELEMENTS];
        runs_of_nibbles(&block[..128], 64, codes);
        runs_of_pairs(&block[128..192], &mut high);
        for (code, high) in codes.iter_mut().zip(high) {
            *code |= high << 4;
        }
    },
    factors: |block| {
        let mut factors = Factors::default();
        for (factor, byte) in factors.scale.iter_mut().zip(&block[192..208]) {
            *factor = i32::from(*byte as i8);
        }
        factors
    },
};

/// d as binary32, 256 signed bytes, sums of 16 of them.
pub static Q8_K: Format = Format {
    codes: 256,
    values: &FROM_0,
    unit: 0,
    group: 256,
    scale: Scale::F32(0),
    minimum: None,
    extreme: legacy::ends8,
    extract: |block, codes| codes.copy_from_slice(&block[4..260]),
    factors: plain,
};

/// Bit i of byte j belongs to element 32 i + j.
#[inline(always)]
fn eighths(bytes: &[u8], place: u32, codes: &mut [u8; MOST_ELEMENTS]) {
    for (bit, codes) in codes.chunks_exact_mut(32).enumerate() {
        for (byte, code) in bytes.iter().zip(codes) {
            *code |= (byte >> bit & 1) << place;
        }
    }
}

/// Eight scales and eight minima of 6 bits: the first four of either in bytes of their own, whose two
/// highest bits are those of the last four.
fn sixes(block: &[u8]) -> Factors {
    let bytes = &block[4..16];
    let mut factors = Factors::default();
    for i in 0..4 {
        let (scale, minimum, rest) = (bytes[i], bytes[4 + i], bytes[8 + i]);
        factors.scale[i] = i32::from(scale & 63);
        factors.minimum[i] = i32::from(minimum & 63);
        factors.scale[4 + i] = i32::from(rest & 15 | scale >> 2 & 48);
        factors.minimum[4 + i] = i32::from(rest >> 4 | minimum >> 2 & 48);
    }
    factors
}
