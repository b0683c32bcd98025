//! Scale words at the edges of their format, for tests and for the self-test of a GPU.

use super::{ScaleEncoding, block_format};
use crate::dtype::Dtype;

/// NaN, infinities, zeros, subnormal numbers, the smallest normal one, the largest ones, one.
const F16: [u16; 13] = [
    0x7E00, 0x7C01, 0xFE00, 0x7C00, 0xFC00, 0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF,
    0x3C00,
];

/// The same as [`F16`], and some values whose products overflow or are subnormal.
const F32: [u32; 15] = [
    0x7FC0_0000,
    0x7F80_0001,
    0xFFC0_0000,
    0x7F80_0000,
    0xFF80_0000,
    0x0000_0000,
    0x8000_0000,
    0x0000_0001,
    0x807F_FFFF,
    0x0080_0000,
    0x7F7F_FFFF,
    0xFF7F_FFFF,
    0x7E00_0000,
    0x0040_0001,
    0x02FF_FFFF,
];

/// Replaces the scale words of the first blocks by edge values (all pairs of them where a type has dmin), as
/// `testdata/quantised/make.py` does. Scales of 8 bits stay: random bytes have all of their values.
pub fn fill_edge_scales(dtype: Dtype, blocks: &mut [u8]) {
    let Some(format) = block_format(dtype) else { return };
    let blocks = blocks.chunks_exact_mut(dtype.granule().0 as usize);
    match format.scale {
        ScaleEncoding::F32(at) => {
            for (block, edge) in blocks.zip(F32) {
                block[at..at + 4].copy_from_slice(&edge.to_le_bytes());
            }
        }
        ScaleEncoding::Nibbles(at) => {
            for (block, edge) in blocks.zip(F16) {
                for i in 0..4 {
                    let byte = &mut block[at + 2 * i + 1];
                    *byte = *byte & 15 | ((edge >> (4 * i) & 15) as u8) << 4;
                }
            }
        }
        ScaleEncoding::F16(at) => {
            let seconds = if format.minimum.is_some() { &F16[..] } else { &F16[..1] };
            let pairs = F16.iter().flat_map(|d| seconds.iter().map(move |dmin| (d, dmin)));
            for (block, (d, dmin)) in blocks.zip(pairs) {
                block[at..at + 2].copy_from_slice(&d.to_le_bytes());
                if let Some(at) = format.minimum {
                    block[at..at + 2].copy_from_slice(&dmin.to_le_bytes());
                }
            }
        }
        ScaleEncoding::E8M0(_) | ScaleEncoding::E4M3(_) => {}
    }
}
