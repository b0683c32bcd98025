//! Blocks of 32: one scale, and a minimum or none.

use super::{Factors, Format, MOST_ELEMENTS, Scale, Values, ends4, ends5, less, plain};
use super::{runs_of_nibbles, word32};

static FROM_0: Values = less(0);
static FROM_8: Values = less(8);
static FROM_16: Values = less(16);

/// d, 16 bytes of two codes.
pub static Q4_0: Format = Format {
    codes: 16,
    values: &FROM_8,
    unit: 0,
    group: 32,
    scale: Scale::F16(0),
    minimum: None,
    extreme: ends4,
    extract: |block, codes| runs_of_nibbles(&block[2..18], 16, codes),
    factors: plain,
};

/// d, m, 16 bytes of two codes. m is added.
pub static Q4_1: Format = Format {
    codes: 16,
    values: &FROM_0,
    unit: 0,
    group: 32,
    scale: Scale::F16(0),
    minimum: Some(2),
    extreme: ends4,
    extract: |block, codes| runs_of_nibbles(&block[4..20], 16, codes),
    factors: added,
};

/// d, 32 highest bits, 16 bytes of two codes.
pub static Q5_0: Format = Format {
    codes: 32,
    values: &FROM_16,
    unit: 0,
    group: 32,
    scale: Scale::F16(0),
    minimum: None,
    extreme: ends5,
    extract: |block, codes| fives(word32(block, 2), &block[6..22], codes),
    factors: plain,
};

/// d, m, 32 highest bits, 16 bytes of two codes. m is added.
pub static Q5_1: Format = Format {
    codes: 32,
    values: &FROM_0,
    unit: 0,
    group: 32,
    scale: Scale::F16(0),
    minimum: Some(2),
    extreme: ends5,
    extract: |block, codes| fives(word32(block, 4), &block[8..24], codes),
    factors: added,
};

/// d, 32 signed bytes.
pub static Q8_0: Format = Format {
    codes: 256,
    values: &FROM_0,
    unit: 0,
    group: 32,
    scale: Scale::F16(0),
    minimum: None,
    extreme: ends8,
    extract: |block, codes| codes[..32].copy_from_slice(&block[2..34]),
    factors: plain,
};

/// d, the sum of the elements, 32 signed bytes.
pub static Q8_1: Format = Format {
    codes: 256,
    values: &FROM_0,
    unit: 0,
    group: 32,
    scale: Scale::F16(0),
    minimum: None,
    extreme: ends8,
    extract: |block, codes| codes[..32].copy_from_slice(&block[4..36]),
    factors: plain,
};

/// −128, which quantisers do not use, and ±127.
pub(super) fn ends8(code: u8) -> bool {
    (127..=129).contains(&code)
}

fn added(_: &[u8]) -> Factors {
    Factors { minimum: [-1; 16], ..Factors::default() }
}

#[inline(always)]
fn fives(high: u32, low: &[u8], codes: &mut [u8; MOST_ELEMENTS]) {
    runs_of_nibbles(low, 16, codes);
    for (bit, code) in codes[..32].iter_mut().enumerate() {
        *code |= (high >> bit & 1) as u8 * 16;
    }
}
