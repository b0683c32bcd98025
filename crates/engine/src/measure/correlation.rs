//! `correlation`: correlates the weights of a carrier block with the chips of a key.
//!
//! A carrier block is [`CARRIER_LEN`] consecutive elements of a tensor. With e the largest exponent
//! among its finite non-zero elements, each becomes q = sign * round_half_away(|w| * 2^(14 - e)), at
//! most 32,767. The kernel returns exact integers: the sum of chip * q for each key, the sum of q^2, and
//! the number of finite non-zero elements. Merging is concatenation. Shader twin:
//! `shaders/correlation.wgsl`.
//!
//! For a block-quantised tensor, the dequantised values as binary32 ([`super::dequantise`]) are
//! correlated; carrier block k consists of the values of unit k.
//!
//! Every value of a floating-point type of at most 32 bits is read as an integer times a power of two,
//! subnormals included, so the only rounding is the one above.

use super::chips::{self, CHIP_BYTES, ChipKey, Nonce};
use super::dequantise::dequantise;
use super::isa::{Isa, VectorKernel};
use tensorseal_base::dtype::{Dtype, NumberFormat, SpecialValues};
use tensorseal_base::quantised;

/// The number of elements in a carrier block, and of chips in a block of the key stream.
pub const CARRIER_LEN: usize = 512;

/// The number of bits that are kept below the leading bit of the largest element of a block.
const KEPT_BITS: u32 = 14;

/// The largest |q|.
const SATURATED: u32 = 32_767;

/// How a kernel reads the elements of a type from their bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ElementFormat {
    /// The number of bytes of an element: 1, 2 or 4.
    pub width: usize,
    /// The width of the mantissa field in bits.
    pub mantissa_bits: u32,
    /// The smallest magnitude, as bits, that is not finite; one more than the largest magnitude if all are
    /// finite.
    pub limit: u32,
}

impl ElementFormat {
    /// Returns the format of a signed floating-point type of 8, 16 or 32 bits; `None` for all other types.
    pub fn from_dtype(dtype: Dtype) -> Option<ElementFormat> {
        let NumberFormat::Float(format) = dtype.number_format() else { return None };
        if !format.signed || !matches!(dtype.bits(), 8 | 16 | 32) || dtype == Dtype::C64 {
            return None;
        }
        let infinity = ((1u32 << format.exponent_bits) - 1) << format.mantissa_bits;
        let limit = match format.special {
            SpecialValues::Ieee => infinity,
            SpecialValues::AllOnesNan => infinity | ((1 << format.mantissa_bits) - 1),
            // The only NaN of FNUZ types has the magnitude zero, and zeros carry nothing either.
            SpecialValues::NegativeZeroNan | SpecialValues::None => 1 << (dtype.bits() - 1),
        };
        let width = dtype.bits() as usize / 8;
        Some(ElementFormat { width, mantissa_bits: format.mantissa_bits, limit })
    }

    /// Returns the mask of the sign bit.
    pub fn sign(&self) -> u32 {
        1 << (8 * self.width - 1)
    }

    /// Returns the number of bytes in a whole carrier block.
    pub fn block_bytes(&self) -> usize {
        CARRIER_LEN * self.width
    }
}

/// How a tensor carries chips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carrier {
    /// How elements are read; for a block-quantised tensor, how dequantised values are read.
    pub elements: ElementFormat,
    /// The nonce of the chips.
    pub nonce: Nonce,
    /// The type of the tensor, if it is block-quantised.
    pub blocks: Option<Dtype>,
}

impl Carrier {
    /// Creates the carrier for a tensor of type `dtype`; `None` for types that cannot carry a mark.
    pub fn from_dtype(dtype: Dtype, nonce: Nonce) -> Option<Carrier> {
        let blocks = dtype.is_block_quantised().then_some(dtype);
        let elements =
            ElementFormat::from_dtype(if dtype.is_block_quantised() { Dtype::F32 } else { dtype })?;
        Some(Carrier { elements, nonce, blocks })
    }

    /// Returns the number of bytes of the tensor in a whole carrier block.
    pub fn block_bytes(&self) -> u64 {
        self.blocks.map_or(self.elements.block_bytes() as u64, quantised::unit_bytes)
    }

    /// Returns the first carrier block that begins at or after position `offset` of the tensor.
    pub fn block_at(&self, offset: u64) -> u64 {
        offset.div_ceil(self.block_bytes())
    }
}

/// The values of a carrier block that do not depend on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Energy {
    /// The sum of q^2; less than 2^39.
    pub energy: u64,
    /// The number of finite non-zero elements; at most [`CARRIER_LEN`].
    pub nonzero: u32,
}

/// The measurement of consecutive carrier blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Correlation {
    /// The values of each block that do not depend on a key.
    pub energies: Vec<Energy>,
    /// The sum of chip * q, by key, then by block. Magnitudes are less than 2^24.
    pub sums: Vec<Vec<i32>>,
}

impl Correlation {
    /// Creates the correlation of no blocks with this number of keys.
    pub fn new(keys: usize) -> Self {
        Self { energies: Vec::new(), sums: vec![Vec::new(); keys] }
    }

    /// Appends the blocks that follow.
    pub fn merge(&mut self, next: &Self) {
        self.energies.extend_from_slice(&next.energies);
        for (sums, more) in self.sums.iter_mut().zip(&next.sums) {
            sums.extend_from_slice(more);
        }
    }

    /// Removes all blocks, and keeps the memory.
    pub fn clear(&mut self) {
        self.energies.clear();
        self.sums.iter_mut().for_each(Vec::clear);
    }

    /// CPU kernel: adds the blocks of `bytes`, which begin with carrier block `first` of the tensor.
    /// Only the last block of a tensor may be shorter; trailing bytes short of an element are not
    /// counted.
    pub fn add(&mut self, carrier: &Carrier, keys: &[ChipKey], first: u64, bytes: &[u8]) {
        let Some(dtype) = carrier.blocks else {
            return self.add_elements(carrier, keys, first, bytes);
        };
        let mut values = Vec::with_capacity(BATCH * carrier.elements.block_bytes());
        let batch = BATCH * carrier.block_bytes() as usize;
        for (part, first) in bytes.chunks(batch).zip((first..).step_by(BATCH)) {
            dequantise(dtype, part, &mut values);
            self.add_elements(carrier, keys, first, &values);
        }
    }

    fn add_elements(&mut self, carrier: &Carrier, keys: &[ChipKey], first: u64, bytes: &[u8]) {
        // Chips are generated for many blocks at once, because the cipher processes several in parallel.
        let mut stream = [0; BATCH * CHIP_BYTES];
        let mut quantised = [[0; CARRIER_LEN]; BATCH];
        let block_bytes = carrier.elements.block_bytes();
        let isa = Isa::best();
        for (batch, bytes) in bytes.chunks(BATCH * block_bytes).enumerate() {
            let first = first + (batch * BATCH) as u64;
            let blocks = bytes.len().div_ceil(block_bytes);
            for (part, q) in bytes.chunks(block_bytes).zip(&mut quantised) {
                self.energies.push(isa.run(Quantise {
                    elements: carrier.elements,
                    bytes: part,
                    q,
                }));
            }
            for (key, sums) in keys.iter().zip(&mut self.sums) {
                let stream = &mut stream[..blocks * CHIP_BYTES];
                chips::fill(key, &carrier.nonce, first, stream);
                for (q, chips) in quantised.iter().zip(stream.as_chunks().0) {
                    sums.push(isa.run(Correlate { q, chips }));
                }
            }
        }
    }
}

/// The number of blocks whose chips are generated at once.
const BATCH: usize = 16;

type QuantisedBlock = [i16; CARRIER_LEN];

/// Quantises one block. Elements past the end of `bytes` are zero.
struct Quantise<'a> {
    elements: ElementFormat,
    bytes: &'a [u8],
    q: &'a mut QuantisedBlock,
}

impl VectorKernel for Quantise<'_> {
    type Output = Energy;

    const WIDE: bool = true;

    #[inline(always)]
    fn run(self) -> Energy {
        quantise(self.elements, self.bytes, self.q)
    }
}

/// Computes the sum of chip * q.
struct Correlate<'a> {
    q: &'a QuantisedBlock,
    chips: &'a [u8; CHIP_BYTES],
}

impl VectorKernel for Correlate<'_> {
    type Output = i32;

    const WIDE: bool = true;

    #[inline(always)]
    fn run(self) -> i32 {
        correlate(self.q, self.chips)
    }

    /// Processes sixteen elements at a time: each lane tests its bit in a copy of the sixteen chips.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx2(self) -> i32 {
        use std::arch::x86_64::*;
        const BITS: [i16; 16] = {
            let (mut bits, mut lane) = ([0; 16], 0);
            while lane < 16 {
                bits[lane] = (1u16 << lane) as i16;
                lane += 1;
            }
            bits
        };
        // SAFETY: the caller guarantees the instruction set. Loads and stores are unaligned and within arrays
        // of at least 32 bytes.
        unsafe {
            let bits = _mm256_loadu_si256(BITS.as_ptr().cast());
            let ones = _mm256_set1_epi16(1);
            let mut sums = _mm256_setzero_si256();
            let halves = self.chips.as_chunks::<2>().0;
            for (part, half) in self.q.as_chunks::<16>().0.iter().zip(halves) {
                let half = _mm256_set1_epi16(i16::from_le_bytes(*half));
                let negative = _mm256_cmpeq_epi16(_mm256_and_si256(half, bits), bits);
                let part = _mm256_loadu_si256(part.as_ptr().cast());
                let signed = _mm256_sub_epi16(_mm256_xor_si256(part, negative), negative);
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(signed, ones));
            }
            let mut lanes = [0i32; 8];
            _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums);
            lanes.iter().sum()
        }
    }

    /// Processes thirty-two elements at a time: a word of chips is the mask of the elements to negate.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx512(self) -> i32 {
        use std::arch::x86_64::*;
        // SAFETY: the caller guarantees the instruction set. Loads are unaligned and within an array of at
        // least 64 bytes.
        unsafe {
            let (zero, ones) = (_mm512_setzero_si512(), _mm512_set1_epi16(1));
            let mut sums = zero;
            let words = self.chips.as_chunks::<4>().0;
            for (part, word) in self.q.as_chunks::<32>().0.iter().zip(words) {
                let part = _mm512_loadu_si512(part.as_ptr().cast());
                let signed = _mm512_mask_sub_epi16(part, u32::from_le_bytes(*word), zero, part);
                sums = _mm512_add_epi32(sums, _mm512_madd_epi16(signed, ones));
            }
            _mm512_reduce_add_epi32(sums)
        }
    }
}

// The same source serves all instruction sets: loops over arrays of known length vectorise. Narrow types
// are processed in 16 bits, twice as many at a time.

#[inline(always)]
fn quantise(elements: ElementFormat, bytes: &[u8], q: &mut QuantisedBlock) -> Energy {
    let nonzero = match elements.width {
        1 => {
            let mut codes = [0u8; CARRIER_LEN];
            copy(bytes, &mut codes);
            quantise_narrow(elements, &codes.map(u16::from), q)
        }
        2 => {
            let mut words = [0u16; CARRIER_LEN];
            copy(bytes, bytemuck::cast_slice_mut(&mut words));
            quantise_narrow(elements, &words.map(u16::from_le), q)
        }
        _ => {
            let mut words = [0u32; CARRIER_LEN];
            copy(bytes, bytemuck::cast_slice_mut(&mut words));
            quantise_wide(elements, &words.map(u32::from_le), q)
        }
    };
    // Squares of less than 2^30, two at a time, in halves of 16 bits: no lane of 32 bits overflows.
    let (mut low, mut high) = ([0u32; 16], [0u32; 16]);
    let (left, right) = q.split_at(CARRIER_LEN / 2);
    for (left, right) in left.as_chunks::<16>().0.iter().zip(right.as_chunks::<16>().0) {
        for lane in 0..16 {
            let (a, b) = (i32::from(left[lane]), i32::from(right[lane]));
            let squares = (a * a + b * b) as u32;
            low[lane] += squares & 0xFFFF;
            high[lane] += squares >> 16;
        }
    }
    let sum = |lanes: [u32; 16]| u64::from(lanes.iter().sum::<u32>());
    Energy { energy: sum(low) + (sum(high) << 16), nonzero }
}

/// Returns the bytes of a block, padded with zeros.
#[inline(always)]
fn copy(bytes: &[u8], block: &mut [u8]) {
    let len = bytes.len().min(block.len());
    block[..len].copy_from_slice(&bytes[..len]);
}

/// The source for both widths: `$word` holds magnitudes and significands, and the leading bit of a normal
/// significand is moved to bit `$leading`.
macro_rules! quantise_words {
    ($name:ident, $word:ty, $leading:expr) => {
        #[inline(always)]
        fn $name(
            elements: ElementFormat,
            words: &[$word; CARRIER_LEN],
            q: &mut QuantisedBlock,
        ) -> u32 {
            let (sign, limit) = (elements.sign() as $word, elements.limit as $word);
            let mantissa_bits = elements.mantissa_bits;
            let (mut largest, mut nonzero) = (0, 0 as $word);
            for word in words {
                let magnitude = word & (sign - 1);
                let magnitude = if magnitude < limit { magnitude } else { 0 };
                largest = largest.max(magnitude);
                nonzero += <$word>::from(magnitude != 0);
            }
            if largest == 0 {
                q.fill(0);
                return 0;
            }
            let QuantisationShift { lift, top } =
                QuantisationShift::for_magnitude(largest.into(), mantissa_bits, $leading);
            let top = top as $word;
            let up = $leading - mantissa_bits + lift;
            let fraction = (1 << mantissa_bits) - 1;
            for (word, q) in words.iter().zip(q.iter_mut()) {
                let magnitude = word & (sign - 1);
                let magnitude = if magnitude < limit { magnitude } else { 0 };
                let exponent = magnitude >> mantissa_bits;
                let implicit = <$word>::from(exponent != 0);
                let significand = ((magnitude & fraction) | implicit << mantissa_bits) << up;
                let shift = top - (exponent - implicit);
                let kept = if shift < <$word>::BITS as $word { significand >> shift } else { 0 };
                // There is one bit more than q has, for rounding.
                let rounded = ((kept >> 1) + (kept & 1)).min(SATURATED as $word) as i16;
                *q = if word & sign != 0 { -rounded } else { rounded };
            }
            nonzero.into()
        }
    };
}

quantise_words!(quantise_narrow, u16, 15);
quantise_words!(quantise_wide, u32, 23);

/// The shifts by which a block is quantised.
struct QuantisationShift {
    /// The number of bits by which significands are shifted up if the largest element is subnormal.
    lift: u32,
    /// Significands are shifted down by this number less their exponent, which keeps one bit for rounding.
    top: u32,
}

impl QuantisationShift {
    /// `largest` is the largest magnitude of the block as bits, not zero. `to` is the bit to which the
    /// leading bit of a normal significand is moved.
    #[inline(always)]
    fn for_magnitude(largest: u32, mantissa_bits: u32, to: u32) -> QuantisationShift {
        let exponent = largest >> mantissa_bits;
        let implicit = u32::from(exponent != 0);
        let significand = (largest & ((1 << mantissa_bits) - 1)) | implicit << mantissa_bits;
        let leading = significand.ilog2() + to - mantissa_bits;
        let lift = (KEPT_BITS + 1).saturating_sub(leading);
        QuantisationShift { lift, top: exponent - implicit + leading + lift - KEPT_BITS - 1 }
    }
}

#[inline(always)]
fn correlate(q: &QuantisedBlock, chips: &[u8; CHIP_BYTES]) -> i32 {
    let mut sums = [0i32; 16];
    let (halves, _) = chips.as_chunks::<2>();
    for (part, half) in q.as_chunks::<16>().0.iter().zip(halves) {
        let half = u16::from_le_bytes(*half);
        for (lane, (q, sum)) in part.iter().zip(&mut sums).enumerate() {
            let negative = -i16::from(half & (1 << lane) != 0);
            *sum += i32::from((*q ^ negative) - negative);
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tensorseal_base::dtype::FloatValue;

    const DTYPES: [Dtype; 7] = [
        Dtype::F32,
        Dtype::F16,
        Dtype::BF16,
        Dtype::F8_E4M3,
        Dtype::F8_E5M2,
        Dtype::F8_E4M3FNUZ,
        Dtype::F8_E5M2FNUZ,
    ];

    /// The definition in floating point, which is exact for these values.
    fn by_definition(dtype: Dtype, bytes: &[u8], chips: &[u8; CHIP_BYTES]) -> (Energy, i32) {
        let NumberFormat::Float(format) = dtype.number_format() else { panic!("{dtype}") };
        let value = |element: &[u8]| {
            let code = element.iter().rev().fold(0, |code, byte| code << 8 | u64::from(*byte));
            match format.decode(code) {
                FloatValue::Finite(value) => value,
                _ => 0.0,
            }
        };
        let values: Vec<f64> = bytes.chunks(dtype.bits() as usize / 8).map(value).collect();
        let largest = values.iter().fold(0.0f64, |largest, v| largest.max(v.abs()));
        if largest == 0.0 {
            return (Energy::default(), 0);
        }
        let exponent = libm::ilogb(largest);
        let (mut energy, mut sum) = (0, 0);
        for (i, value) in values.iter().enumerate() {
            let scaled = libm::ldexp(value.abs(), 14 - exponent);
            let q = (scaled.round() as i64).min(32_767);
            energy += (q * q) as u64;
            let negative = (*value < 0.0) ^ (chips[i / 8] >> (i % 8) & 1 == 1);
            sum += if negative { -q } else { q };
        }
        let nonzero = values.iter().filter(|v| **v != 0.0).count() as u32;
        (Energy { energy, nonzero }, sum as i32)
    }

    fn measured(dtype: Dtype, bytes: &[u8]) -> (Correlation, [u8; CHIP_BYTES]) {
        let carrier = Carrier::from_dtype(dtype, [3; 12]).unwrap();
        let key = ChipKey([9; 32]);
        let mut correlation = Correlation::new(1);
        correlation.add(&carrier, std::slice::from_ref(&key), 5, bytes);
        let mut chips = [0; CHIP_BYTES];
        chips::fill(&key, &carrier.nonce, 5, &mut chips);
        (correlation, chips)
    }

    fn holds(dtype: Dtype, bytes: &[u8]) {
        let (correlation, chips) = measured(dtype, bytes);
        let (energy, sum) = by_definition(dtype, bytes, &chips);
        assert_eq!(correlation.energies, [energy], "{dtype}");
        assert_eq!(correlation.sums, [[sum]], "{dtype}");
    }

    #[test]
    fn only_floats_of_at_most_32_bits_carry() {
        for dtype in Dtype::safetensors_types() {
            assert_eq!(
                ElementFormat::from_dtype(dtype).is_some(),
                DTYPES.contains(&dtype),
                "{dtype}"
            );
        }
    }

    /// All codes of the narrow types, such that every magnitude is once the largest of its block.
    #[test]
    fn every_code_of_every_narrow_type_is_read_by_value() {
        for dtype in DTYPES {
            let bits = dtype.bits();
            let codes = if bits == 32 { 0..1 } else { 0..1u32 << bits.min(16) };
            for start in codes.step_by(97) {
                let block: Vec<u8> = (0..CARRIER_LEN as u32)
                    .map(|i| if i % 7 == 0 { 0 } else { start.wrapping_add(i / 40) })
                    .flat_map(|code| code.to_le_bytes()[..bits as usize / 8].to_vec())
                    .collect();
                holds(dtype, &block);
            }
        }
    }

    /// Codes around the bounds of classes and binades, and arbitrary ones.
    fn code() -> impl Strategy<Value = u32> {
        const EDGES: [u32; 12] = [
            0,
            1,
            0x7F,
            0x80,
            0x7F80_0000,
            0x0080_0000,
            0x007F_FFFF,
            0x7F7F_FFFF,
            0xFF80_0000,
            0x7FC0_0000,
            0x3F80_0000,
            0x3FFF_FFFF,
        ];
        (prop_oneof![any::<u32>(), prop::sample::select(EDGES.to_vec())], any::<bool>())
            .prop_map(|(code, swap)| if swap { code.rotate_left(16) } else { code })
    }

    proptest! {
        #[test]
        fn blocks_are_quantised_by_definition(
            codes in prop::collection::vec(code(), 1..CARRIER_LEN + 1),
            near in 0u32..32,
            which in 0..DTYPES.len(),
        ) {
            let dtype = DTYPES[which];
            let width = dtype.bits() as usize / 8;
            // Some blocks span few exponents, so that rounding matters, others all of them.
            let base = codes[0];
            let mask = u32::MAX >> near;
            let bytes: Vec<u8> = codes
                .iter()
                .flat_map(|code| ((base & !mask) | (code & mask)).to_le_bytes()[..width].to_vec())
                .collect();
            holds(dtype, &bytes);
        }

        #[test]
        fn parts_merge_to_the_whole(seed in any::<u64>(), cut in 0u64..40, len in 1usize..40_000) {
            let mut bytes = vec![0; len];
            blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
            let carrier = Carrier::from_dtype(Dtype::BF16, [1; 12]).unwrap();
            let keys = [ChipKey([1; 32]), ChipKey([2; 32])];
            let mut whole = Correlation::new(2);
            whole.add(&carrier, &keys, 0, &bytes);
            let at = (cut as usize * carrier.elements.block_bytes()).min(len);
            let mut parts = Correlation::new(2);
            parts.add(&carrier, &keys, 0, &bytes[..at]);
            let mut rest = Correlation::new(2);
            rest.add(&carrier, &keys, cut.min(at.div_ceil(1024) as u64), &bytes[at..]);
            if at.is_multiple_of(1024) {
                parts.merge(&rest);
                prop_assert_eq!(parts, whole);
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same() {
        let mut bytes = [0; 4 * CARRIER_LEN];
        blake3::Hasher::new().update(b"dispatch").finalize_xof().fill(&mut bytes);
        let chips = bytes[..CHIP_BYTES].try_into().unwrap();
        for dtype in DTYPES {
            let elements = ElementFormat::from_dtype(dtype).unwrap();
            let bytes = &bytes[..elements.block_bytes()];
            let mut expected = [0; CARRIER_LEN];
            let energy = Isa::PORTABLE.run(Quantise { elements, bytes, q: &mut expected });
            let sum = Isa::PORTABLE.run(Correlate { q: &expected, chips });
            for isa in Isa::available() {
                let mut q = [0; CARRIER_LEN];
                let computed = isa.run(Quantise { elements, bytes, q: &mut q });
                assert_eq!(computed, energy, "{isa:?} {dtype}");
                assert_eq!(q, expected, "{isa:?} {dtype}");
                assert_eq!(isa.run(Correlate { q: &q, chips }), sum, "{isa:?} {dtype}");
            }
        }
    }
}
