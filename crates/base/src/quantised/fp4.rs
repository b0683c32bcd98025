//! The FP4 types of ggml, with E2M1 codes.

use super::{
    BlockCodeValues, BlockFormat, GroupFactors, ScaleEncoding, runs_of_nibbles, unit_factors,
};

/// Twice the value of each E2M1 code. There is no negative zero.
static E2M1: BlockCodeValues = {
    let mut values = [0; 256];
    let magnitudes = [0, 1, 2, 3, 4, 6, 8, 12];
    let mut code = 0;
    while code < 8 {
        values[code] = magnitudes[code];
        values[code + 8] = -magnitudes[code];
        code += 1;
    }
    values
};

/// An E8M0 scale, 16 bytes of two codes.
pub(super) static MXFP4: BlockFormat = BlockFormat {
    codes: 16,
    values: &E2M1,
    unit: 0,
    group: 32,
    scale: ScaleEncoding::E8M0(0),
    minimum: None,
    extreme: is_largest,
    extract: |block, codes| runs_of_nibbles(&block[1..17], 16, codes),
    factors: unit_factors,
};

/// Four unsigned E4M3 scales, four times 8 bytes of two codes.
pub(super) static NVFP4: BlockFormat = BlockFormat {
    codes: 16,
    values: &E2M1,
    unit: -10,
    group: 16,
    scale: ScaleEncoding::E4M3(0),
    minimum: None,
    extreme: is_largest,
    extract: |block, codes| runs_of_nibbles(&block[4..36], 8, codes),
    factors: |block| {
        let mut factors = GroupFactors::default();
        for (factor, byte) in factors.scale.iter_mut().zip(&block[..4]) {
            *factor = e4m3(*byte);
        }
        factors
    },
};

fn is_largest(code: u8) -> bool {
    code & 7 == 7
}

/// Decodes an unsigned E4M3 number: half its value, in units of 2^-10.
fn e4m3(byte: u8) -> i32 {
    let (exponent, mantissa) = (byte >> 3 & 15, i32::from(byte & 7));
    match (byte, exponent) {
        (0x7F, _) => 0,
        (_, 0) => mantissa,
        _ => (8 + mantissa) << (exponent - 1),
    }
}
