//! The K types: blocks of 256 elements in groups with quantised scales and minima.

use super::{
    BlockCodeValues, BlockFormat, GroupFactors, MAX_ELEMENTS, ScaleEncoding, is_extreme_4bit,
    is_extreme_5bit, legacy, never_extreme, unit_factors, values_minus,
};
use super::{runs_of_nibbles, runs_of_pairs};

static FROM_0: BlockCodeValues = values_minus(0);
static FROM_4: BlockCodeValues = values_minus(4);
static FROM_32: BlockCodeValues = values_minus(32);

/// 16 bytes of scale (low half) and minimum, 64 bytes of four codes, d, dmin.
pub(super) static Q2_K: BlockFormat = BlockFormat {
    codes: 4,
    values: &FROM_0,
    unit: 0,
    group: 16,
    scale: ScaleEncoding::F16(80),
    minimum: Some(82),
    extreme: never_extreme,
    extract: |block, codes| runs_of_pairs(&block[16..80], codes),
    factors: |block| {
        let mut factors = GroupFactors::default();
        for (group, byte) in block[..16].iter().enumerate() {
            factors.scale[group] = i32::from(byte & 15);
            factors.minimum[group] = i32::from(byte >> 4);
        }
        factors
    },
};

/// 32 bytes of highest bits, 64 bytes of the four lower ones, 12 bytes of scales, d.
pub(super) static Q3_K: BlockFormat = BlockFormat {
    codes: 8,
    values: &FROM_4,
    unit: 0,
    group: 16,
    scale: ScaleEncoding::F16(108),
    minimum: None,
    extreme: never_extreme,
    extract: |block, codes| {
        runs_of_pairs(&block[32..96], codes);
        add_bit_plane(&block[..32], 2, codes);
    },
    factors: |block| {
        let scales = &block[96..108];
        let mut factors = GroupFactors::default();
        for (group, factor) in factors.scale.iter_mut().enumerate() {
            let low = scales[group % 8] >> (group / 8 * 4) & 15;
            let high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
            *factor = i32::from(low | high << 4) - 32;
        }
        factors
    },
};

/// d, dmin, 12 bytes of scales and minima, 128 bytes of two codes.
pub(super) static Q4_K: BlockFormat = BlockFormat {
    codes: 16,
    values: &FROM_0,
    unit: 0,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: Some(2),
    extreme: is_extreme_4bit,
    extract: |block, codes| runs_of_nibbles(&block[16..144], 32, codes),
    factors: unpack_6bit_factors,
};

/// d, dmin, 12 bytes of scales and minima, 32 bytes of highest bits, 128 bytes of the lower ones.
pub(super) static Q5_K: BlockFormat = BlockFormat {
    codes: 32,
    values: &FROM_0,
    unit: 0,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: Some(2),
    extreme: is_extreme_5bit,
    extract: |block, codes| {
        runs_of_nibbles(&block[48..176], 32, codes);
        add_bit_plane(&block[16..48], 4, codes);
    },
    factors: unpack_6bit_factors,
};

/// 128 bytes of lower halves, 64 bytes of the two highest bits, 16 signed scales, d.
pub(super) static Q6_K: BlockFormat = BlockFormat {
    codes: 64,
    values: &FROM_32,
    unit: 0,
    group: 16,
    scale: ScaleEncoding::F16(208),
    minimum: None,
    extreme: |code| code == 0 || code == 63,
    extract: |block, codes| {
        let mut high = [0; MAX_ELEMENTS];
        runs_of_nibbles(&block[..128], 64, codes);
        runs_of_pairs(&block[128..192], &mut high);
        for (code, high) in codes.iter_mut().zip(high) {
            *code |= high << 4;
        }
    },
    factors: |block| {
        let mut factors = GroupFactors::default();
        for (factor, byte) in factors.scale.iter_mut().zip(&block[192..208]) {
            *factor = i32::from(*byte as i8);
        }
        factors
    },
};

/// d as binary32, 256 signed bytes, sums of 16 of them.
pub(super) static Q8_K: BlockFormat = BlockFormat {
    codes: 256,
    values: &FROM_0,
    unit: 0,
    group: 256,
    scale: ScaleEncoding::F32(0),
    minimum: None,
    extreme: legacy::is_extreme_8bit,
    extract: |block, codes| codes.copy_from_slice(&block[4..260]),
    factors: unit_factors,
};

/// Sets bit `place` of the codes: bit i of byte j belongs to element 32 i + j.
#[inline(always)]
fn add_bit_plane(bytes: &[u8], place: u32, codes: &mut [u8; MAX_ELEMENTS]) {
    for (bit, codes) in codes.chunks_exact_mut(32).enumerate() {
        for (byte, code) in bytes.iter().zip(codes) {
            *code |= (byte >> bit & 1) << place;
        }
    }
}

/// Unpacks eight scales and eight minima of 6 bits. The first four of each have one byte each, whose two
/// highest bits belong to the last four.
fn unpack_6bit_factors(block: &[u8]) -> GroupFactors {
    let bytes = &block[4..16];
    let mut factors = GroupFactors::default();
    for i in 0..4 {
        let (scale, minimum, rest) = (bytes[i], bytes[4 + i], bytes[8 + i]);
        factors.scale[i] = i32::from(scale & 63);
        factors.minimum[i] = i32::from(minimum & 63);
        factors.scale[4 + i] = i32::from(rest & 15 | scale >> 2 & 48);
        factors.minimum[4 + i] = i32::from(rest >> 4 | minimum >> 2 & 48);
    }
    factors
}
