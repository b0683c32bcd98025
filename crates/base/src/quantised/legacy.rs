//! The legacy types of ggml: blocks of 32 elements with one scale, some with a minimum.

use super::{
    BlockCodeValues, BlockFormat, GroupFactors, MAX_ELEMENTS, ScaleEncoding, is_extreme_4bit,
    is_extreme_5bit, unit_factors, values_minus,
};
use super::{runs_of_nibbles, word32};

static FROM_0: BlockCodeValues = values_minus(0);
static FROM_8: BlockCodeValues = values_minus(8);
static FROM_16: BlockCodeValues = values_minus(16);

/// d, 16 bytes of two codes.
pub(super) static Q4_0: BlockFormat = BlockFormat {
    codes: 16,
    values: &FROM_8,
    unit: 0,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: is_extreme_4bit,
    extract: |block, codes| runs_of_nibbles(&block[2..18], 16, codes),
    factors: unit_factors,
};

/// d, m, 16 bytes of two codes. m is added.
pub(super) static Q4_1: BlockFormat = BlockFormat {
    codes: 16,
    values: &FROM_0,
    unit: 0,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: Some(2),
    extreme: is_extreme_4bit,
    extract: |block, codes| runs_of_nibbles(&block[4..20], 16, codes),
    factors: added_minimum,
};

/// d, 32 highest bits, 16 bytes of two codes.
pub(super) static Q5_0: BlockFormat = BlockFormat {
    codes: 32,
    values: &FROM_16,
    unit: 0,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: is_extreme_5bit,
    extract: |block, codes| unpack_5bit(word32(block, 2), &block[6..22], codes),
    factors: unit_factors,
};

/// d, m, 32 highest bits, 16 bytes of two codes. m is added.
pub(super) static Q5_1: BlockFormat = BlockFormat {
    codes: 32,
    values: &FROM_0,
    unit: 0,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: Some(2),
    extreme: is_extreme_5bit,
    extract: |block, codes| unpack_5bit(word32(block, 4), &block[8..24], codes),
    factors: added_minimum,
};

/// d, 32 signed bytes.
pub(super) static Q8_0: BlockFormat = BlockFormat {
    codes: 256,
    values: &FROM_0,
    unit: 0,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: is_extreme_8bit,
    extract: |block, codes| codes[..32].copy_from_slice(&block[2..34]),
    factors: unit_factors,
};

/// d, the sum of the elements, 32 signed bytes.
pub(super) static Q8_1: BlockFormat = BlockFormat {
    codes: 256,
    values: &FROM_0,
    unit: 0,
    group: 32,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: is_extreme_8bit,
    extract: |block, codes| codes[..32].copy_from_slice(&block[4..36]),
    factors: unit_factors,
};

/// −128, which quantisers do not use, and ±127.
pub(super) fn is_extreme_8bit(code: u8) -> bool {
    (127..=129).contains(&code)
}

fn added_minimum(_: &[u8]) -> GroupFactors {
    GroupFactors { minimum: [-1; 16], ..GroupFactors::default() }
}

#[inline(always)]
fn unpack_5bit(high: u32, low: &[u8], codes: &mut [u8; MAX_ELEMENTS]) {
    runs_of_nibbles(low, 16, codes);
    for (bit, code) in codes[..32].iter_mut().enumerate() {
        *code |= (high >> bit & 1) as u8 * 16;
    }
}
