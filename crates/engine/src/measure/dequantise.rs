//! `dequantise`: converts quantisation blocks to the bits of their values as binary32.
//!
//! The values are only used by [`super::correlation`], so that the weights of a model correlate in the same
//! way in every type. Here they are computed in floating point ([`tensorseal_base::quantised`]), where IEEE
//! 754 determines every bit. Devices do not guarantee this, so `shaders/dequantise.wgsl` computes the same
//! bits with integers. NaN is 0x7FC00000.

use tensorseal_base::dtype::Dtype;
use tensorseal_base::quantised::{self, MAX_ELEMENTS};

/// The bits of every NaN in the output.
pub const NAN: u32 = 0x7FC0_0000;

/// CPU kernel: replaces `out` with the values of whole blocks as little-endian binary32.
pub fn dequantise(dtype: Dtype, blocks: &[u8], out: &mut Vec<u8>) {
    let Some(format) = quantised::block_format(dtype) else { return out.clear() };
    let (size, elements) = dtype.granule();
    let mut values = [0.0; MAX_ELEMENTS];
    let values = &mut values[..elements as usize];
    let blocks = blocks.chunks_exact(size as usize);
    out.resize(blocks.len() * values.len() * 4, 0);
    for (block, out) in blocks.zip(out.chunks_exact_mut(values.len() * 4)) {
        format.decode(block, values);
        for (value, out) in values.iter().zip(out.as_chunks_mut().0) {
            *out = bits(*value).to_le_bytes();
        }
    }
}

#[inline(always)]
fn bits(value: f32) -> u32 {
    if value.is_nan() { NAN } else { value.to_bits() }
}
