//! Block-quantised types whose elements have two, three or four values.

use super::{
    BlockCodeValues, BlockFormat, ScaleEncoding, never_extreme, runs_of_pairs, unit_factors,
    values_minus,
};

static FROM_1: BlockCodeValues = values_minus(1);
/// A cleared bit stands for −d, a set bit for d.
static SIGNS: BlockCodeValues = {
    let mut values = [1; 256];
    values[0] = -1;
    values
};

/// 52 bytes of five elements each (the last four bytes have four), d. A byte is a fraction of 256 whose digits in
/// base three are the codes.
pub(super) static TQ1_0: BlockFormat = BlockFormat {
    codes: 4,
    values: &FROM_1,
    unit: 0,
    group: 256,
    scale: ScaleEncoding::F16(52),
    minimum: None,
    extreme: never_extreme,
    extract: |block, codes| {
        let parts = [(0..32, 0..160), (32..48, 160..240), (48..52, 240..256)];
        for (bytes, elements) in parts {
            let bytes = &block[bytes];
            for (codes, power) in
                codes[elements].chunks_exact_mut(bytes.len()).zip([1u8, 3, 9, 27, 81])
            {
                for (byte, code) in bytes.iter().zip(codes) {
                    *code = ((u16::from(byte.wrapping_mul(power)) * 3) >> 8) as u8;
                }
            }
        }
    },
    factors: unit_factors,
};

/// 64 bytes of four elements, d.
pub(super) static TQ2_0: BlockFormat = BlockFormat {
    codes: 4,
    values: &FROM_1,
    unit: 0,
    group: 256,
    scale: ScaleEncoding::F16(64),
    minimum: None,
    extreme: never_extreme,
    extract: |block, codes| runs_of_pairs(&block[..64], codes),
    factors: unit_factors,
};

/// d, 128 bits.
pub(super) static Q1_0: BlockFormat = BlockFormat {
    codes: 2,
    values: &SIGNS,
    unit: 0,
    group: 128,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: never_extreme,
    extract: |block, codes| {
        for (byte, codes) in block[2..18].iter().zip(codes.chunks_exact_mut(8)) {
            for (bit, code) in codes.iter_mut().enumerate() {
                *code = byte >> bit & 1;
            }
        }
    },
    factors: unit_factors,
};

/// d, 64 codes of two bits, four in a byte.
pub(super) static Q2_0: BlockFormat = BlockFormat {
    codes: 4,
    values: &FROM_1,
    unit: 0,
    group: 64,
    scale: ScaleEncoding::F16(0),
    minimum: None,
    extreme: never_extreme,
    extract: |block, codes| {
        for (byte, codes) in block[2..18].iter().zip(codes.chunks_exact_mut(4)) {
            for (code, shift) in codes.iter_mut().zip([0, 2, 4, 6]) {
                *code = byte >> shift & 3;
            }
        }
    },
    factors: unit_factors,
};
