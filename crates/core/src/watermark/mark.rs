//! Marking one carrier block: w' = R(w + alpha * s * c * m).
//!
//! c is the chip of an element and m the sign that its block carries, both +1 or -1; s^2 is the mean square of the
//! finite non-zero elements of the block. R rounds randomly to one of the two neighbours in the type of the element,
//! with probabilities that make the mean of w' equal to the exact sum: rounding to nearest would lose a mark that is
//! smaller than a step. The 8 random bits for each element are derived from the key, so the same key gives the same
//! bytes.
//!
//! Exact zeros, infinities and NaN stay unchanged; an overflow gives the largest finite value. All arithmetic is IEEE
//! 754 binary64 with + - * / and the square root in a fixed order, so that a marked model is the same on every
//! machine.

use tensorseal_base::dtype::{Dtype, NumberFormat};
use tensorseal_engine::measure::chips::CHIP_BYTES;
use tensorseal_engine::measure::correlation::{CARRIER_LEN, ElementFormat};
use tensorseal_engine::measure::isa::{self, VectorKernel};

/// The bytes of dither of a carrier block: one for each element.
pub const DITHER_BYTES: usize = CARRIER_LEN;

/// The mantissa bits of binary64.
const MANTISSA: u32 = f64::MANTISSA_DIGITS - 1;
/// The exponent bias of binary64.
const BIAS: i32 = f64::MAX_EXP - 1;
/// The bits of dither of an element.
const DITHER_BITS: u32 = 8;
const SIGN: u64 = 1 << 63;

/// Decodes the values of a type to binary64, and encodes them with dithered rounding.
#[derive(Debug, Clone, Copy)]
pub struct Rounding {
    elements: ElementFormat,
    /// The distance from the last mantissa bit of the type to that of binary64.
    shift: u32,
    /// The value that is subtracted from a shifted binary64 to get a normal code.
    rebias: u64,
    /// The smallest normal magnitude, and the step between subnormal ones.
    smallest_normal: f64,
    step: f64,
    /// 1 / step.
    steps: f64,
}

/// How marking changed carrier blocks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MarkChange {
    /// The sum of the squares of the finite elements.
    pub signal: f64,
    /// The sum of the squares of their changes.
    pub noise: f64,
    /// The number of finite non-zero elements.
    pub elements: u64,
    /// The number of elements that changed.
    pub changed: u64,
}

impl MarkChange {
    /// Adds the change of the following blocks.
    pub fn merge(&mut self, next: &MarkChange) {
        self.signal += next.signal;
        self.noise += next.noise;
        self.elements += next.elements;
        self.changed += next.changed;
    }

    /// Returns the signal-to-noise ratio in dB; infinite if nothing changed.
    pub fn snr_db(&self) -> f64 {
        10.0 * libm::log10(self.signal / self.noise)
    }
}

/// A block to mark: see [`Rounding::mark`].
struct MarkBlock<'a> {
    rounding: &'a Rounding,
    bytes: &'a mut [u8],
    chips: &'a [u8; CHIP_BYTES],
    dither: &'a [u8; DITHER_BYTES],
    strength: f64,
}

impl VectorKernel for MarkBlock<'_> {
    type Output = MarkChange;

    #[inline(always)]
    fn run(self) -> MarkChange {
        self.rounding.mark_block(self.bytes, self.chips, self.dither, self.strength)
    }
}

impl Rounding {
    /// Returns the rounding of a type that carries chips; `None` for all other types.
    pub fn for_dtype(dtype: Dtype) -> Option<Rounding> {
        let elements = ElementFormat::from_dtype(dtype)?;
        let NumberFormat::Float(format) = dtype.number_format() else { return None };
        let shift = MANTISSA - format.mantissa_bits;
        let smallest = 1 - format.bias - format.mantissa_bits as i32;
        Some(Rounding {
            elements,
            shift,
            rebias: ((BIAS - format.bias) as u64) << format.mantissa_bits,
            smallest_normal: libm::ldexp(1.0, 1 - format.bias),
            step: libm::ldexp(1.0, smallest),
            steps: libm::ldexp(1.0, -smallest),
        })
    }

    /// Decodes a finite magnitude.
    #[inline(always)]
    fn decode(&self, code: u64) -> f64 {
        let normal = f64::from_bits((code + self.rebias) << self.shift);
        let subnormal = code as u32 as i32 as f64 * self.step;
        if code >> self.elements.mantissa_bits == 0 { subnormal } else { normal }
    }

    /// Encodes a magnitude from the smallest normal one on, with dithered rounding.
    #[inline(always)]
    fn encode_normal(&self, bits: u64, dither: u64) -> u64 {
        // Use the middle of each of the 256 parts, so that the mean of the rounding is the value.
        let offset = (2 * dither + 1) << (self.shift - DITHER_BITS - 1);
        // Below the smallest normal magnitude this wraps, and the result is not used.
        let code = ((bits + offset) >> self.shift).wrapping_sub(self.rebias);
        code.min(u64::from(self.elements.limit) - 1)
    }

    /// Encodes a subnormal magnitude, whose codes count steps.
    fn encode_subnormal(&self, magnitude: f64, dither: u64) -> u64 {
        let parts = (2 * dither + 1) as f64 / f64::from(2u32 << DITHER_BITS);
        libm::floor(magnitude * self.steps + parts) as u64
    }

    /// Marks the block in `bytes` with the given chips and dither; `strength` is alpha times the sign that the block
    /// carries. An incomplete element at the end stays unchanged.
    pub fn mark(
        &self,
        bytes: &mut [u8],
        chips: &[u8; CHIP_BYTES],
        dither: &[u8; DITHER_BYTES],
        strength: f64,
    ) -> MarkChange {
        isa::vectorised(MarkBlock { rounding: self, bytes, chips, dither, strength })
    }

    #[inline(always)]
    fn mark_block(
        &self,
        bytes: &mut [u8],
        chips: &[u8; CHIP_BYTES],
        dither: &[u8; DITHER_BYTES],
        strength: f64,
    ) -> MarkChange {
        let mut codes = [0u64; CARRIER_LEN];
        self.load(bytes, &mut codes);
        let (sign, limit) = (u64::from(self.elements.sign()), u64::from(self.elements.limit));
        // Signed values, with zero for elements that stay unchanged.
        let mut values = [0f64; CARRIER_LEN];
        for (value, code) in values.iter_mut().zip(&codes) {
            let magnitude = code & (sign - 1);
            let finite = if magnitude < limit { magnitude } else { 0 };
            let sign = if code & sign == 0 { 0 } else { SIGN };
            *value = f64::from_bits(self.decode(finite).to_bits() | sign);
        }
        let signal = sum_of_squares(&values);
        let elements = values.iter().map(|value| u64::from(*value != 0.0)).sum::<u64>();
        if elements == 0 {
            return MarkChange::default();
        }
        let scale = strength * libm::sqrt(signal / elements as f64);
        let mut changes = [0f64; CARRIER_LEN];
        let mut subnormal = false;
        let mut targets = [0f64; CARRIER_LEN];
        for (i, target) in targets.iter_mut().enumerate() {
            let chip = u64::from(chips[i / 8] >> (i % 8) & 1) << 63;
            *target = values[i] + f64::from_bits(scale.to_bits() ^ chip);
            subnormal |= target.abs() < self.smallest_normal && values[i] != 0.0;
        }
        for (i, target) in targets.iter().enumerate() {
            let bits = target.to_bits();
            let code = self.encode_normal(bits & !SIGN, dither[i].into());
            let negative = if bits & SIGN == 0 { 0 } else { sign };
            codes[i] = if values[i] == 0.0 { codes[i] } else { code | negative };
        }
        if subnormal {
            // Rare: the smallest weights of narrow types.
            for (i, target) in targets.iter().enumerate() {
                if target.abs() < self.smallest_normal && values[i] != 0.0 {
                    let negative = if target.is_sign_negative() { sign } else { 0 };
                    let code = self.encode_subnormal(target.abs(), dither[i].into());
                    // Types without negative zero use its code for something else.
                    codes[i] = if code == 0 { 0 } else { code | negative };
                }
            }
        }
        for (i, change) in changes.iter_mut().enumerate() {
            let magnitude = self.decode(codes[i] & (sign - 1)).to_bits();
            let negative = if codes[i] & sign == 0 { 0 } else { SIGN };
            let difference = f64::from_bits(magnitude | negative) - values[i];
            *change = if values[i] == 0.0 { 0.0 } else { difference };
        }
        let changed = changes.iter().map(|change| u64::from(*change != 0.0)).sum();
        self.store(&codes, bytes);
        MarkChange { signal, noise: sum_of_squares(&changes), elements, changed }
    }

    /// Loads the codes of a block, with zero for missing elements.
    #[inline(always)]
    fn load(&self, bytes: &[u8], codes: &mut [u64; CARRIER_LEN]) {
        match self.elements.width {
            1 => codes.iter_mut().zip(bytes).for_each(|(code, byte)| *code = (*byte).into()),
            2 => codes
                .iter_mut()
                .zip(bytes.as_chunks().0)
                .for_each(|(code, word)| *code = u16::from_le_bytes(*word).into()),
            _ => codes
                .iter_mut()
                .zip(bytes.as_chunks().0)
                .for_each(|(code, word)| *code = u32::from_le_bytes(*word).into()),
        }
    }

    #[inline(always)]
    fn store(&self, codes: &[u64; CARRIER_LEN], bytes: &mut [u8]) {
        match self.elements.width {
            1 => bytes.iter_mut().zip(codes).for_each(|(byte, code)| *byte = *code as u8),
            2 => bytes
                .as_chunks_mut()
                .0
                .iter_mut()
                .zip(codes)
                .for_each(|(word, code)| *word = (*code as u16).to_le_bytes()),
            _ => bytes
                .as_chunks_mut()
                .0
                .iter_mut()
                .zip(codes)
                .for_each(|(word, code)| *word = (*code as u32).to_le_bytes()),
        }
    }
}

/// Adds up squares in eight lanes, which are then added in order, so that the sum is the same on every machine.
#[inline(always)]
fn sum_of_squares(values: &[f64; CARRIER_LEN]) -> f64 {
    let mut lanes = [0f64; 8];
    for part in values.as_chunks::<8>().0 {
        for (lane, value) in lanes.iter_mut().zip(part) {
            *lane += value * value;
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tensorseal_base::dtype::FloatValue;

    /// Returns all types that carry chips.
    fn dtypes() -> impl Iterator<Item = Dtype> {
        Dtype::safetensors_types().filter(|dtype| ElementFormat::from_dtype(*dtype).is_some())
    }

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn decoded(dtype: Dtype, element: &[u8]) -> Option<f64> {
        let mut code = [0; 8];
        code[..element.len()].copy_from_slice(element);
        let NumberFormat::Float(format) = dtype.number_format() else { unreachable!() };
        match format.decode(u64::from_le_bytes(code)) {
            FloatValue::Finite(value) => Some(value),
            _ => None,
        }
    }

    /// Checks the definition for each element: the result is one of the two neighbours of the target (or the largest
    /// value), and the dither decides which one.
    fn check(dtype: Dtype, before: &[u8], chips: &[u8; 64], dither: &[u8; 512], strength: f64) {
        let rounding = Rounding::for_dtype(dtype).unwrap();
        let width = dtype.bits() as usize / 8;
        let mut after = before.to_vec();
        let change = rounding.mark(&mut after, chips, dither, strength);
        for isa in isa::Isa::available() {
            let mut bytes = before.to_vec();
            let (rounding, bytes) = (&rounding, &mut bytes);
            let again = isa.run(MarkBlock { rounding, bytes, chips, dither, strength });
            assert_eq!(again, change, "{isa:?}");
            assert_eq!(*bytes, after, "{isa:?}");
        }

        let values: Vec<Option<f64>> =
            before.chunks_exact(width).map(|element| decoded(dtype, element)).collect();
        let live: Vec<f64> = values.iter().flatten().copied().filter(|v| *v != 0.0).collect();
        assert_eq!(change.elements, live.len() as u64);
        let energy: f64 = live.iter().map(|v| v * v).sum();
        assert!((change.signal - energy).abs() <= energy * 1e-12);
        // All finite values in order, so that the neighbours of a target are looked up and not computed.
        let mut all: Vec<f64> = match dtype.bits() {
            32 => Vec::new(),
            bits => (0u64..1 << bits)
                .filter_map(|code| decoded(dtype, &code.to_le_bytes()[..width]))
                .collect(),
        };
        all.sort_by(f64::total_cmp);
        let scale = strength * (change.signal / change.elements as f64).sqrt();
        let mut changed = 0;
        for (i, (old, new)) in before.chunks_exact(width).zip(after.chunks_exact(width)).enumerate()
        {
            let Some(value) = values[i].filter(|value| *value != 0.0) else {
                assert_eq!(
                    old, new,
                    "{dtype}: zeros and values that are not finite stay unchanged"
                );
                continue;
            };
            let chip = if chips[i / 8] >> (i % 8) & 1 == 0 { 1.0 } else { -1.0 };
            let target = value + scale * chip;
            let result = decoded(dtype, new).expect("a finite value stays finite");
            changed += u64::from(result != value);
            let (below, above) = if dtype.bits() == 32 {
                let near = target as f32;
                let other =
                    if f64::from(near) > target { near.next_down() } else { near.next_up() };
                let (a, b) = (f64::from(near), f64::from(other));
                if f64::from(near) == target { (a, a) } else { (a.min(b), a.max(b)) }
            } else {
                let at = all.partition_point(|v| *v < target);
                let above = all[at.min(all.len() - 1)];
                (if above == target { above } else { all[at.saturating_sub(1)] }, above)
            };
            if target.abs() > all.last().copied().unwrap_or(f64::MAX) || !above.is_finite() {
                continue;
            }
            assert!(result == below || result == above, "{dtype}: {value} to {target}: {result}");
            if below < above {
                let share = (target.abs() - below.abs().min(above.abs())) / (above - below);
                let up = result.abs() == below.abs().max(above.abs());
                let limit = 1.0 - (f64::from(dither[i]) + 0.5) / 256.0;
                if (share - limit).abs() > 1e-6 {
                    assert_eq!(up, share >= limit, "{dtype}: {target} between {below} and {above}");
                }
            }
        }
        assert_eq!(change.changed, changed);
    }

    #[test]
    fn marking_is_its_definition() {
        for (seed, dtype) in (0..).zip(dtypes()) {
            let width = dtype.bits() as usize / 8;
            let chips: [u8; 64] = noise(seed, 64).try_into().unwrap();
            let dither: [u8; 512] = noise(seed + 100, 512).try_into().unwrap();
            let random = noise(seed + 200, 512 * width);
            for strength in [0.01, -0.01, 0.3, 1e-7] {
                if dtype.bits() == 32 {
                    // Noise of 32 bits spans all exponents: one value would be the whole energy.
                    let normal =
                        random.chunks(4).map(|r| (f32::from(r[0]) - 127.5) * f32::from(r[1]));
                    let bytes: Vec<u8> = normal.flat_map(f32::to_le_bytes).collect();
                    check(dtype, &bytes, &chips, &dither, strength);
                    check(dtype, &bytes[..4 * 77], &chips, &dither, strength);
                }
                check(dtype, &random, &chips, &dither, strength);
                check(dtype, &random[..77 * width], &chips, &dither, strength);
            }
        }
    }

    #[test]
    fn small_and_large_values_stay_in_their_type() {
        let chips = [0; 64];
        for dtype in dtypes() {
            let rounding = Rounding::for_dtype(dtype).unwrap();
            let width = dtype.bits() as usize / 8;
            let limit = rounding.elements.limit;
            for dither in [[0; 512], [255; 512]] {
                // The largest value goes up to itself.
                let largest: Vec<u8> =
                    (0..512).flat_map(|_| (limit - 1).to_le_bytes()[..width].to_vec()).collect();
                let mut bytes = largest.clone();
                let change = rounding.mark(&mut bytes, &chips, &dither, 0.03);
                assert_eq!((bytes == largest, change.changed), (true, 0), "{dtype}");
                // The smallest ones, where steps are even.
                let smallest: Vec<u8> =
                    (0..512u32).flat_map(|i| (1 + i % 5).to_le_bytes()[..width].to_vec()).collect();
                check(dtype, &smallest, &chips, &dither, 0.5);
                check(dtype, &smallest, &chips, &dither, -0.9);
            }
            let mut nothing = vec![0xFF; 512 * width];
            if dtype != Dtype::F8_E4M3FNUZ && dtype != Dtype::F8_E5M2FNUZ {
                let change = rounding.mark(&mut nothing, &chips, &[0; 512], 0.03);
                assert_eq!(change, MarkChange::default(), "{dtype}: all of it is not a number");
            }
            let mut empty = [];
            assert_eq!(rounding.mark(&mut empty, &chips, &[0; 512], 0.03), MarkChange::default());
        }
        assert!(
            Rounding::for_dtype(Dtype::F64).is_none() && Rounding::for_dtype(Dtype::I32).is_none()
        );
    }

    /// The mean of all 256 roundings is the target.
    #[test]
    fn rounding_is_unbiased() {
        for dtype in dtypes() {
            let rounding = Rounding::for_dtype(dtype).unwrap();
            let width = dtype.bits() as usize / 8;
            let codes = if width == 1 { 0x20u32..0x60 } else { 0x2000..0x2040 };
            let block: Vec<u8> = codes
                .cycle()
                .take(512)
                .flat_map(|code| {
                    (code << (8 * width).saturating_sub(16)).to_le_bytes()[..width].to_vec()
                })
                .collect();
            let chips: [u8; 64] = noise(9, 64).try_into().unwrap();
            let mut means = vec![0.0; 512];
            for dither in 0..=255 {
                let mut bytes = block.clone();
                rounding.mark(&mut bytes, &chips, &[dither; 512], 0.01);
                for (mean, element) in means.iter_mut().zip(bytes.chunks(width)) {
                    *mean += decoded(dtype, element).unwrap() / 256.0;
                }
            }
            let change = rounding.mark(&mut block.clone(), &chips, &[0; 512], 0.01);
            let scale = 0.01 * (change.signal / 512.0).sqrt();
            for (i, element) in block.chunks(width).enumerate() {
                let chip = if chips[i / 8] >> (i % 8) & 1 == 0 { 1.0 } else { -1.0 };
                let value = decoded(dtype, element).unwrap();
                let target = value + scale * chip;
                // Within half of a 256th of a step.
                let step = value.abs().max(target.abs())
                    * libm::ldexp(1.0, -(rounding.elements.mantissa_bits as i32));
                assert!(
                    (means[i] - target).abs() <= step / 500.0 + 1e-12 * value.abs(),
                    "{dtype} {i}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_block_is_marked(
            bytes in prop::collection::vec(any::<u8>(), 0..2048),
            strength in -1f64..1.0,
            seed: u64,
        ) {
            for dtype in dtypes() {
                let width = dtype.bits() as usize / 8;
                let bytes = &bytes[..bytes.len().min(512 * width)];
                let chips: [u8; 64] = noise(seed, 64).try_into().unwrap();
                let dither: [u8; 512] = noise(!seed, 512).try_into().unwrap();
                let mut marked = bytes.to_vec();
                let change = Rounding::for_dtype(dtype).unwrap().mark(&mut marked, &chips, &dither, strength);
                prop_assert!(change.changed <= change.elements && change.elements <= 512);
                for (old, new) in bytes.chunks(width).zip(marked.chunks(width)) {
                    let was = (old.len() == width).then(|| decoded(dtype, old)).flatten();
                    if was.is_none_or(|value| value == 0.0) {
                        prop_assert_eq!(old, new);
                    } else {
                        prop_assert!(decoded(dtype, new).is_some());
                    }
                }
            }
        }
    }
}
