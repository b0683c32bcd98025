//! Decodes the block-quantised types of ggml.
//!
//! The elements of a quantisation block share scales. Every type is read in the same way: an element is stored
//! as a small **code**, a code stands for a small integer **value**, and
//!
//! element = d · 2^unit · factor · value − dmin · minimum
//!
//! where d and dmin are the scale words of the block (only some types have dmin), and factor and minimum are
//! integers that 16 or more neighbouring elements share. The products are exact in binary32 for all types except
//! Q8_K, so there is at most one rounding: of the product, or of the difference. Each file describes one family
//! of types; [`grids`] holds the points of the IQ types. The values equal those of the `gguf` Python package,
//! NaN for NaN (`testdata/quantised`).
//!
//! Where ggml and the specification of a format differ, this module follows ggml, because a model computes with
//! its values: the E8M0 scale 0xFF of an MXFP4 block is 2^127 and not NaN; the NVFP4 scale 0x7F is zero, and the
//! sign bit of a scale is ignored.

#[doc(hidden)]
pub mod edge_scales;
mod fp4;
pub mod grids;
mod iq;
mod k;
mod legacy;
mod ternary;

use crate::dtype::Dtype;

/// The number of block-quantised types.
pub const TYPE_COUNT: usize = 27;

/// The largest number of elements in a block.
pub const MAX_ELEMENTS: usize = 256;

/// The largest size of a block in bytes.
pub const MAX_BYTES: usize = 292;

/// The number of elements in a unit: twice the largest block, so that every block size divides it. Work on
/// block-quantised tensors is split at units, whatever the type.
pub const UNIT_LEN: usize = 512;

/// The largest number of bytes after a part of a tensor that belong to a unit which begins in that part.
pub const HALO_LEN: usize = 4096;

/// The position and the format of the scale word of a block. Positions are bytes of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleEncoding {
    /// A binary16.
    F16(usize),
    /// A binary16 whose nibbles are the highest nibbles of four 16-bit words, the lowest nibble first.
    Nibbles(usize),
    /// A binary32.
    F32(usize),
    /// A byte e for 2^(e − 128): half the E8M0 value, because E2M1 codes stand for twice their value.
    E8M0(usize),
    /// Four bytes of unsigned E4M3, which become the factors; d is one.
    E4M3(usize),
}

/// The factors and minima of a block, by group of [`BlockFormat::group`] elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupFactors {
    /// The factors that the scale is multiplied by.
    pub scale: [i32; 16],
    /// The factors that dmin is multiplied by before it is subtracted.
    pub minimum: [i32; 16],
}

impl Default for GroupFactors {
    fn default() -> Self {
        GroupFactors { scale: [1; 16], minimum: [0; 16] }
    }
}

/// The integer value of each code.
pub type BlockCodeValues = [i8; 256];

/// How the blocks of a type are decoded.
pub struct BlockFormat {
    /// The number of codes: a power of two up to 256.
    pub codes: usize,
    /// The integer value of each code.
    pub values: &'static BlockCodeValues,
    /// The exponent of the power of two that all products are multiplied by.
    pub unit: i32,
    /// The number of elements that share a factor: a multiple of 16.
    pub group: usize,
    /// The encoding of d.
    pub scale: ScaleEncoding,
    /// The position of dmin in the block, a binary16, for the types that have it.
    pub minimum: Option<usize>,
    /// Whether a code is at the end of the range of the quantiser, where too large weights are clipped. Always
    /// `false` for types with so few values that many weights are at an end.
    pub extreme: fn(u8) -> bool,
    /// Reads the codes in the order of the elements.
    extract: fn(&[u8], &mut [u8; MAX_ELEMENTS]),
    /// Reads the factors.
    factors: fn(&[u8]) -> GroupFactors,
}

/// The block formats, by [`type_index`].
static FORMATS: [&BlockFormat; TYPE_COUNT] = [
    &legacy::Q4_0,
    &legacy::Q4_1,
    &legacy::Q5_0,
    &legacy::Q5_1,
    &legacy::Q8_0,
    &legacy::Q8_1,
    &k::Q2_K,
    &k::Q3_K,
    &k::Q4_K,
    &k::Q5_K,
    &k::Q6_K,
    &k::Q8_K,
    &iq::IQ2_XXS,
    &iq::IQ2_XS,
    &iq::IQ3_XXS,
    &iq::IQ1_S,
    &iq::IQ4_NL,
    &iq::IQ3_S,
    &iq::IQ2_S,
    &iq::IQ4_XS,
    &iq::IQ1_M,
    &ternary::TQ1_0,
    &ternary::TQ2_0,
    &fp4::MXFP4,
    &fp4::NVFP4,
    &ternary::Q1_0,
    &ternary::Q2_0,
];

/// The index of a block-quantised type among these types in the order of [`Dtype`], or `None` for other types.
pub fn type_index(dtype: Dtype) -> Option<usize> {
    dtype.is_block_quantised().then(|| dtype as usize - Dtype::Q4_0 as usize)
}

/// The block format of a type, or `None` for types without blocks.
pub fn block_format(dtype: Dtype) -> Option<&'static BlockFormat> {
    type_index(dtype).map(|index| FORMATS[index])
}

/// The size in bytes of a unit of a block-quantised type.
pub fn unit_bytes(dtype: Dtype) -> u64 {
    let (bytes, elements) = dtype.granule();
    UNIT_LEN as u64 / elements * bytes
}

/// The blocks that a part of a tensor owns: the blocks of the units that begin in the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnedBlocks {
    /// The index of the first unit.
    pub first_unit: u64,
    /// The number of bytes at the start of the part that belong to the previous part.
    pub skip: usize,
    /// The number of whole blocks.
    pub blocks: usize,
}

impl OwnedBlocks {
    /// Computes the blocks that the bytes `offset..offset + len` of a tensor own. `available` bytes from `offset`
    /// on can be read: the part, and what follows it up to [`HALO_LEN`] bytes or the end of the tensor.
    pub fn for_range(dtype: Dtype, offset: u64, len: usize, available: usize) -> OwnedBlocks {
        let unit = unit_bytes(dtype);
        let block = dtype.granule().0;
        let (first_unit, end) = (offset.div_ceil(unit), (offset + len as u64).div_ceil(unit));
        let start = first_unit * unit;
        // The last unit of a tensor may have fewer blocks, and an incomplete block is not read.
        let end = (end * unit).min(offset + available as u64).max(start);
        let blocks = ((end - start) / block) as usize;
        let skip = ((start - offset) as usize).min(available);
        OwnedBlocks { first_unit, skip, blocks }
    }

    /// The number of units; the last one may be shorter.
    pub fn units(&self, dtype: Dtype) -> usize {
        self.blocks.div_ceil(UNIT_LEN / dtype.granule().1 as usize)
    }

    /// The bytes of the blocks, out of the available `bytes` from the start of the part on.
    pub fn bytes<'a>(&self, dtype: Dtype, bytes: &'a [u8]) -> &'a [u8] {
        let len = self.blocks * dtype.granule().0 as usize;
        bytes.get(self.skip..self.skip + len).unwrap_or_default()
    }
}

impl BlockFormat {
    /// Reads the codes of a block in the order of the elements.
    pub fn read_codes(&self, block: &[u8], codes: &mut [u8; MAX_ELEMENTS]) {
        (self.extract)(block, codes);
    }

    /// Reads the factors and minima of a block.
    pub fn read_factors(&self, block: &[u8]) -> GroupFactors {
        (self.factors)(block)
    }

    /// Reads d and dmin of a block as binary32.
    pub fn read_scales(&self, block: &[u8]) -> (f32, f32) {
        let d = match self.scale {
            ScaleEncoding::F16(at) => half_to_f32(word(block, at)),
            ScaleEncoding::Nibbles(at) => half_to_f32(nibbles(block, at)),
            ScaleEncoding::F32(at) => f32::from_bits(word32(block, at)),
            ScaleEncoding::E8M0(at) => e8m0(block[at]),
            ScaleEncoding::E4M3(_) => 1.0,
        };
        (d, self.minimum.map_or(0.0, |at| half_to_f32(word(block, at))))
    }

    /// Decodes a block into `out`, which must have room for its elements.
    pub fn decode(&self, block: &[u8], out: &mut [f32]) {
        let mut codes = [0; MAX_ELEMENTS];
        (self.extract)(block, &mut codes);
        let factors = (self.factors)(block);
        let (d, dmin) = self.read_scales(block);
        let unit = f32::from_bits(((127 + self.unit) as u32) << 23);
        let groups = out.chunks_mut(self.group).zip(codes.chunks(self.group));
        for (group, (out, codes)) in groups.enumerate() {
            let scale = d * unit * factors.scale[group] as f32;
            let values = out.iter_mut().zip(codes);
            match self.minimum {
                None => values.for_each(|(out, code)| {
                    *out = scale * f32::from(self.values[usize::from(*code)]);
                }),
                Some(_) => {
                    let minimum = dmin * factors.minimum[group] as f32;
                    values.for_each(|(out, code)| {
                        *out = scale * f32::from(self.values[usize::from(*code)]) - minimum;
                    });
                }
            }
        }
    }
}

/// Decodes a block of a block-quantised type into `out`. Leaves `out` unchanged if the type has no blocks or the
/// block is too short; elements of `out` after those of the block stay unchanged as well.
pub fn decode_block(dtype: Dtype, block: &[u8], out: &mut [f32]) {
    let (bytes, elements) = dtype.granule();
    let (Some(format), Some(block)) = (block_format(dtype), block.get(..bytes as usize)) else {
        return;
    };
    let len = out.len().min(elements as usize);
    format.decode(block, &mut out[..len]);
}

/// Reads a little-endian 16-bit word of a block.
#[inline(always)]
fn word(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

/// Reads a little-endian 32-bit word of a block.
#[inline(always)]
fn word32(block: &[u8], at: usize) -> u32 {
    u32::from(word(block, at)) | u32::from(word(block, at + 2)) << 16
}

/// Reads a scale word in [`ScaleEncoding::Nibbles`].
pub fn nibbles(block: &[u8], at: usize) -> u16 {
    (0..4).fold(0, |all, i| all | (word(block, at + 2 * i) >> 12) << (4 * i))
}

/// Converts a binary16 to binary32; NaN becomes a NaN.
pub fn half_to_f32(half: u16) -> f32 {
    let (sign, magnitude) = (u32::from(half >> 15) << 31, u32::from(half & 0x7FFF));
    let bits = match magnitude >> 10 {
        // A subnormal is a multiple of 2^-24.
        0 => (magnitude as f32 * f32::from_bits(103 << 23)).to_bits(),
        31 => 0x7F80_0000 | (magnitude & 0x3FF) << 13,
        _ => (magnitude + (112 << 10)) << 13,
    };
    f32::from_bits(sign | bits)
}

/// Returns 2^(e − 128).
fn e8m0(e: u8) -> f32 {
    f32::from_bits(match e {
        0 | 1 => 0x0020_0000 << e,
        e => (u32::from(e) - 1) << 23,
    })
}

/// The factors of types without group scales.
fn unit_factors(_: &[u8]) -> GroupFactors {
    GroupFactors::default()
}

/// For types with few values.
fn never_extreme(_: u8) -> bool {
    false
}

/// Whether a 4-bit code is the lowest or the highest.
fn is_extreme_4bit(code: u8) -> bool {
    code == 0 || code == 15
}

/// Whether a 5-bit code is the lowest or the highest.
fn is_extreme_5bit(code: u8) -> bool {
    code == 0 || code == 31
}

/// The values of codes that stand for themselves minus `zero`.
const fn values_minus(zero: i16) -> BlockCodeValues {
    let mut values = [0; 256];
    let mut code = 0;
    while code < 256 {
        values[code] = (code as i16 - zero) as i8;
        code += 1;
    }
    values
}

/// Unpacks two codes per byte, `run` bytes at a time: first the low nibbles, then the high nibbles.
#[inline(always)]
fn runs_of_nibbles(bytes: &[u8], run: usize, codes: &mut [u8; MAX_ELEMENTS]) {
    for (bytes, codes) in bytes.chunks_exact(run).zip(codes.chunks_exact_mut(2 * run)) {
        let (low, high) = codes.split_at_mut(run);
        for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
            *low = byte & 15;
            *high = byte >> 4;
        }
    }
}

/// Unpacks four codes per byte, 32 bytes at a time, the lowest bits first.
#[inline(always)]
fn runs_of_pairs(bytes: &[u8], codes: &mut [u8; MAX_ELEMENTS]) {
    for (bytes, codes) in bytes.chunks_exact(32).zip(codes.chunks_exact_mut(128)) {
        for (codes, shift) in codes.chunks_exact_mut(32).zip([0, 2, 4, 6]) {
            for (byte, code) in bytes.iter().zip(codes) {
                *code = byte >> shift & 3;
            }
        }
    }
}

#[cfg(test)]
mod tests;
