//! `windows`: counts the elements of each aligned window of 4,096 elements in twelve classes of magnitude.
//!
//! The classes have fixed bounds, the same for every tensor and type, so that a window can be measured
//! without the rest of the tensor. What is usual for the tensor is judged when all of it was measured.
//! Merging is concatenation. Shader twin: `shaders/windows.wgsl`.

use super::correlation::ElementFormat;
use super::isa::{self, VectorKernel};

/// The number of elements in a window.
pub const WINDOW_LEN: usize = 4096;

/// The number of classes of magnitude.
pub const CLASSES: usize = 12;

/// The exponents (base 2) at which the classes from the third on begin. The first class is zero, the
/// second is everything else below 2^-24, and the last is everything from 2^16 on and non-finite values.
pub const BOUNDS: [i32; CLASSES - 2] = [-24, -14, -10, -7, -5, -3, -1, 1, 4, 16];

/// The number of elements of a window in each class.
pub type Window = [u16; CLASSES];

/// Consecutive windows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Windows {
    /// The number of the first window in the tensor.
    pub first: u64,
    /// The windows; only the last one of a tensor may have fewer elements.
    pub windows: Vec<Window>,
}

/// Returns the smallest magnitudes, as bits, of the classes from the second on.
///
/// The bias of FNUZ types is one larger than assumed here, so their classes begin at half the bound.
pub fn thresholds(elements: &ElementFormat) -> [u32; CLASSES - 1] {
    let mantissa = elements.mantissa_bits;
    let exponent_bits = 8 * elements.width as u32 - 1 - mantissa;
    let bias = (1i32 << (exponent_bits - 1)) - 1;
    let magnitude = |exponent: i32| {
        let field = exponent + bias;
        if field >= 1 << exponent_bits {
            elements.limit
        } else if field > 0 {
            ((field as u32) << mantissa).min(elements.limit)
        } else {
            // Subnormal: the leading bit of the mantissa has the value 2^(-bias).
            1u32.checked_shl((mantissa as i32 - 1 + field).max(0) as u32).unwrap_or(1)
        }
    };
    std::array::from_fn(|i| if i == 0 { 1 } else { magnitude(BOUNDS[i - 1]) })
}

impl Windows {
    /// Creates empty windows for the bytes `start..start + len` of a tensor. `start` is a whole number of
    /// windows.
    pub fn for_range(elements: &ElementFormat, start: u64, len: u64) -> Windows {
        let bytes = (WINDOW_LEN * elements.width) as u64;
        let count = (len / elements.width as u64).div_ceil(WINDOW_LEN as u64);
        Windows { first: start / bytes, windows: vec![[0; CLASSES]; count as usize] }
    }

    /// Adds the measurement of a part of this range.
    pub fn merge(&mut self, part: &Windows) {
        let at = (part.first - self.first) as usize;
        for (window, more) in self.windows[at..].iter_mut().zip(&part.windows) {
            for (count, more) in window.iter_mut().zip(more) {
                *count += more;
            }
        }
    }

    /// CPU kernel: counts the elements of `bytes`, which begin `start` bytes into the tensor. `start` is a
    /// whole number of windows. Trailing bytes short of an element are not counted.
    pub fn add(&mut self, elements: &ElementFormat, start: u64, bytes: &[u8]) {
        let window_bytes = WINDOW_LEN * elements.width;
        let at = (start / window_bytes as u64 - self.first) as usize;
        let thresholds = thresholds(elements);
        for (window, bytes) in self.windows[at..].iter_mut().zip(bytes.chunks(window_bytes)) {
            let more = isa::vectorised(Count { elements, thresholds: &thresholds, bytes });
            for (count, more) in window.iter_mut().zip(more) {
                *count += more;
            }
        }
    }
}

/// The elements of a window.
struct Count<'a> {
    elements: &'a ElementFormat,
    thresholds: &'a [u32; CLASSES - 1],
    bytes: &'a [u8],
}

impl VectorKernel for Count<'_> {
    type Output = Window;

    #[inline(always)]
    fn run(self) -> Window {
        match self.elements.width {
            1 => count8(self.thresholds, self.bytes),
            2 => count16(self.thresholds, self.bytes.as_chunks().0),
            _ => count32(self.thresholds, self.bytes.as_chunks().0),
        }
    }
}

/// Converts counts of elements at or above each threshold to counts between thresholds.
#[inline(always)]
fn classes(total: usize, above: [u16; CLASSES - 1]) -> Window {
    let mut window = [0; CLASSES];
    let mut left = total as u16;
    for (class, above) in above.into_iter().enumerate() {
        window[class] = left - above;
        left = above;
    }
    window[CLASSES - 1] = left;
    window
}

fn count8(thresholds: &[u32; CLASSES - 1], bytes: &[u8]) -> Window {
    let mut codes = [0u16; 128];
    for byte in bytes {
        codes[usize::from(byte & 0x7F)] += 1;
    }
    let above = thresholds.map(|t| codes.iter().skip(t as usize).sum());
    classes(bytes.len(), above)
}

/// The source for both widths: one pass over the magnitudes for each threshold. Magnitudes have no sign
/// bit, so signed lanes can compare them in one instruction.
macro_rules! count {
    ($name:ident, $word:ty, $bytes:literal) => {
        #[inline(always)]
        fn $name(thresholds: &[u32; CLASSES - 1], words: &[[u8; $bytes]]) -> Window {
            let mut magnitudes = [0 as $word; WINDOW_LEN];
            for (magnitude, word) in magnitudes.iter_mut().zip(words) {
                *magnitude = <$word>::from_le_bytes(*word) & <$word>::MAX;
            }
            // The zeros that pad a shorter last window are below every threshold.
            let above = thresholds.map(|threshold| {
                let threshold = <$word>::try_from(threshold).unwrap_or(<$word>::MAX);
                let mut above: $word = 0;
                for magnitude in &magnitudes {
                    above += <$word>::from(*magnitude >= threshold);
                }
                above as u16
            });
            classes(words.len(), above)
        }
    };
}

count!(count16, i16, 2);
count!(count32, i32, 4);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tensorseal_base::dtype::Dtype;

    fn class_of(value: f64) -> usize {
        if value == 0.0 {
            return 0;
        }
        let magnitude = if value.is_nan() { f64::INFINITY } else { value.abs() };
        1 + BOUNDS.iter().filter(|bound| magnitude >= 2f64.powi(**bound)).count()
    }

    fn expected(values: impl Iterator<Item = f64>) -> Window {
        let mut window = [0; CLASSES];
        values.for_each(|value| window[class_of(value)] += 1);
        window
    }

    fn windows(dtype: Dtype, bytes: &[u8]) -> Windows {
        let elements = ElementFormat::from_dtype(dtype).unwrap();
        let mut windows = Windows::for_range(&elements, 0, bytes.len() as u64);
        windows.add(&elements, 0, bytes);
        windows
    }

    proptest! {
        #[test]
        fn classes_are_those_of_the_values(words in prop::collection::vec(any::<u32>(), 0..300)) {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            let f32s = words.iter().map(|w| f64::from(f32::from_bits(*w)));
            let got = windows(Dtype::F32, &bytes);
            prop_assert_eq!(got.windows.first().copied().unwrap_or_default(), expected(f32s));
            let halves = bytes.as_chunks::<2>().0;
            let f16s = halves.iter().map(|w| half::f16::from_le_bytes(*w).to_f64());
            let got = windows(Dtype::F16, &bytes);
            prop_assert_eq!(got.windows.first().copied().unwrap_or_default(), expected(f16s));
            let bf16s = halves.iter().map(|w| half::bf16::from_le_bytes(*w).to_f64());
            let got = windows(Dtype::BF16, &bytes);
            prop_assert_eq!(got.windows.first().copied().unwrap_or_default(), expected(bf16s));
        }

        #[test]
        fn parts_merge_to_the_whole(seed in any::<u64>(), len in 0usize..5, tail in 0usize..9000) {
            let elements = ElementFormat::from_dtype(Dtype::BF16).unwrap();
            let cut = len * 2 * WINDOW_LEN;
            let mut bytes = vec![0; cut + tail];
            blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
            let mut sum = Windows::for_range(&elements, 0, bytes.len() as u64);
            for (start, part) in [(cut, &bytes[cut..]), (0, &bytes[..cut])] {
                let mut windows = Windows::for_range(&elements, start as u64, part.len() as u64);
                windows.add(&elements, start as u64, part);
                sum.merge(&windows);
            }
            prop_assert_eq!(sum, windows(Dtype::BF16, &bytes));
        }
    }

    #[test]
    fn bytes_are_classed_too() {
        let bytes: Vec<u8> = (0..=255).collect();
        let values = (0..=255u8).map(|code| match Dtype::F8_E5M2.number_format() {
            tensorseal_base::dtype::NumberFormat::Float(format) => match format.decode(code.into())
            {
                tensorseal_base::dtype::FloatValue::Finite(value) => value,
                _ => f64::INFINITY,
            },
            _ => unreachable!(),
        });
        assert_eq!(windows(Dtype::F8_E5M2, &bytes).windows[0], expected(values));
    }
}
