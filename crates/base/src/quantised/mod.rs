//! Block-quantised types, as ggml stores them: what the bytes of a block stand for.
//!
//! A block is elements that share scales. Every type is read the same way: an element is a small
//! **code**, a code stands for a small integer **value**, and
//!
//! element = d · 2^unit · factor · value − dmin · minimum
//!
//! where d and dmin are the scale words of the block (dmin of some types only) and factor and minimum
//! are integers that 16 or more neighbours share. Products are exact in binary32 in all types but
//! Q8_K, so there is at most one rounding: of that product, or of the difference. One file describes the
//! types of a family; [`grids`] holds the points that the IQ types choose from. The values are those of
//! the dequantisation of the `gguf` package, NaN for NaN (`testdata/quantised`).
//!
//! Where ggml and the specification of a format differ, ggml counts, for its values are what a model
//! computes with: the E8M0 scale 0xFF of an MXFP4 block is 2^127 and not NaN, the scale 0x7F of NVFP4
//! is zero and its sign bit is ignored.

#[doc(hidden)]
pub mod edge_scales;
mod fp4;
pub mod grids;
mod iq;
mod k;
mod legacy;
mod ternary;

use crate::dtype::Dtype;

/// Block-quantised types.
pub const TYPE_COUNT: usize = 27;

/// The most elements a block has.
pub const MAX_ELEMENTS: usize = 256;

/// The most bytes a block has.
pub const MAX_BYTES: usize = 292;

/// Elements of a unit: the least common multiple of the elements of all blocks, twice. Work on blocks is
/// divided at units, whatever the type.
pub const UNIT_LEN: usize = 512;

/// The most bytes that lie behind a part of a tensor and belong to a unit that begins in it.
pub const HALO_LEN: usize = 4096;

/// Where the scale words of a block lie, and what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleEncoding {
    /// A binary16 at this byte.
    F16(usize),
    /// A binary16 whose nibbles are the highest of four 16-bit words at this byte, the lowest first.
    Nibbles(usize),
    /// A binary32 at this byte.
    F32(usize),
    /// A byte e: 2^(e − 128), as codes of E2M1 stand for twice their value.
    E8M0(usize),
    /// Four bytes of unsigned E4M3, which the factors are made of: d is one.
    E4M3(usize),
}

/// The integers that neighbours share, by group of [`BlockFormat::group`] elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupFactors {
    /// What the scale is multiplied by.
    pub scale: [i32; 16],
    /// What dmin is multiplied by before it is subtracted.
    pub minimum: [i32; 16],
}

impl Default for GroupFactors {
    fn default() -> Self {
        GroupFactors { scale: [1; 16], minimum: [0; 16] }
    }
}

/// What a code stands for, by code.
pub type BlockCodeValues = [i8; 256];

/// How the blocks of a type are read.
pub struct BlockFormat {
    /// Number of codes: a power of two up to 256.
    pub codes: usize,
    /// What a code stands for.
    pub values: &'static BlockCodeValues,
    /// The power of two that products are in.
    pub unit: i32,
    /// Elements that share a factor: 16, or a multiple.
    pub group: usize,
    /// Its scale.
    pub scale: ScaleEncoding,
    /// Byte of dmin, a binary16.
    pub minimum: Option<usize>,
    /// Codes at the end of the range of a quantiser, where a weight that is too large is cut off, by
    /// code; all false for types of so few values that many of them are at an end.
    pub extreme: fn(u8) -> bool,
    /// Reads the codes, in order of the elements.
    extract: fn(&[u8], &mut [u8; MAX_ELEMENTS]),
    /// Reads the factors.
    factors: fn(&[u8]) -> GroupFactors,
}

/// By [`type_index`].
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

/// The number of a block-quantised type among them, in the order of [`Dtype`]; `None` for others.
pub fn type_index(dtype: Dtype) -> Option<usize> {
    dtype.is_block_quantised().then(|| dtype as usize - Dtype::Q4_0 as usize)
}

/// How the blocks of a type are read; `None` for types without blocks.
pub fn block_format(dtype: Dtype) -> Option<&'static BlockFormat> {
    type_index(dtype).map(|index| FORMATS[index])
}

/// Bytes of a unit of a block-quantised type.
pub fn unit_bytes(dtype: Dtype) -> u64 {
    let (bytes, elements) = dtype.granule();
    UNIT_LEN as u64 / elements * bytes
}

/// The blocks that a part of a tensor owns: those of the units that begin in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnedBlocks {
    /// Number of the first unit.
    pub first_unit: u64,
    /// Bytes of the part before it: they belong to the part before.
    pub skip: usize,
    /// Whole blocks.
    pub blocks: usize,
}

impl OwnedBlocks {
    /// By the bytes `offset..offset + len` of a tensor, of which `available` from `offset` on are at
    /// hand: the part, and what lies behind it up to [`HALO_LEN`] or the end of the tensor.
    pub fn for_range(dtype: Dtype, offset: u64, len: usize, available: usize) -> OwnedBlocks {
        let unit = unit_bytes(dtype);
        let block = dtype.granule().0;
        let (first_unit, end) = (offset.div_ceil(unit), (offset + len as u64).div_ceil(unit));
        let start = first_unit * unit;
        // The last unit of a tensor may have fewer blocks, and what is no whole block is not read.
        let end = (end * unit).min(offset + available as u64).max(start);
        let blocks = ((end - start) / block) as usize;
        let skip = ((start - offset) as usize).min(available);
        OwnedBlocks { first_unit, skip, blocks }
    }

    /// Units, the last of which may be shorter.
    pub fn units(&self, dtype: Dtype) -> usize {
        self.blocks.div_ceil(UNIT_LEN / dtype.granule().1 as usize)
    }

    /// The bytes of the blocks, out of those of the part and of what lies behind it.
    pub fn bytes<'a>(&self, dtype: Dtype, bytes: &'a [u8]) -> &'a [u8] {
        let len = self.blocks * dtype.granule().0 as usize;
        bytes.get(self.skip..self.skip + len).unwrap_or_default()
    }
}

impl BlockFormat {
    /// The codes of a block, in order of its elements.
    pub fn read_codes(&self, block: &[u8], codes: &mut [u8; MAX_ELEMENTS]) {
        (self.extract)(block, codes);
    }

    /// The integers that neighbours share.
    pub fn read_factors(&self, block: &[u8]) -> GroupFactors {
        (self.factors)(block)
    }

    /// d and dmin, as binary32.
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

    /// The values of a block: `out` has room for its elements.
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

/// The values of a block of a block-quantised type. Those of no such type, of a block that is too
/// short, and those that `out` has beyond the block are left as they are.
pub fn decode_block(dtype: Dtype, block: &[u8], out: &mut [f32]) {
    let (bytes, elements) = dtype.granule();
    let (Some(format), Some(block)) = (block_format(dtype), block.get(..bytes as usize)) else {
        return;
    };
    let len = out.len().min(elements as usize);
    format.decode(block, &mut out[..len]);
}

/// Two bytes of a block.
#[inline(always)]
fn word(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

/// Four bytes of a block.
#[inline(always)]
fn word32(block: &[u8], at: usize) -> u32 {
    u32::from(word(block, at)) | u32::from(word(block, at + 2)) << 16
}

/// The binary16 of [`ScaleEncoding::Nibbles`].
pub fn nibbles(block: &[u8], at: usize) -> u16 {
    (0..4).fold(0, |all, i| all | (word(block, at + 2 * i) >> 12) << (4 * i))
}

/// The binary32 that equals a binary16; NaN gives a NaN.
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

/// 2^(e − 128).
fn e8m0(e: u8) -> f32 {
    f32::from_bits(match e {
        0 | 1 => 0x0020_0000 << e,
        e => (u32::from(e) - 1) << 23,
    })
}

/// No group has factors of its own.
fn unit_factors(_: &[u8]) -> GroupFactors {
    GroupFactors::default()
}

/// Types of few values.
fn never_extreme(_: u8) -> bool {
    false
}

/// Codes of 4 bits: the lowest and the highest.
fn is_extreme_4bit(code: u8) -> bool {
    code == 0 || code == 15
}

/// Codes of 5 bits: the lowest and the highest.
fn is_extreme_5bit(code: u8) -> bool {
    code == 0 || code == 31
}

/// Codes that stand for themselves, less `zero`.
const fn values_minus(zero: i16) -> BlockCodeValues {
    let mut values = [0; 256];
    let mut code = 0;
    while code < 256 {
        values[code] = (code as i16 - zero) as i8;
        code += 1;
    }
    values
}

/// Two codes a byte, `run` bytes at a time: first their low halves, then their high ones.
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

/// Four codes a byte, 32 bytes at a time, the lowest first.
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
