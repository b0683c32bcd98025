//! `summary`: class counts, exact extremes and exact sums of words of 32 and 64 bits.
//!
//! The two 16-bit tables of a histogram do not distinguish infinities from NaNs, and give no exact sums
//! of wide words. Narrower words need no summary, because it follows from their histogram. Shader twin:
//! `shaders/summary.wgsl`.

use super::WordFormat;
use super::histogram::BINS;
use super::touched_bins::TouchedBins;

/// The number of words in each class, in the order of the output of the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassCounts {
    /// Words that are NaN.
    pub nan: u64,
    /// Words that are positive infinity.
    pub positive_infinity: u64,
    /// Words that are negative infinity.
    pub negative_infinity: u64,
    /// Words that are zero, of either sign.
    pub zero: u64,
    /// Non-zero words with the smallest exponent field.
    pub subnormal: u64,
    /// Words with the sign bit set; 0 for unsigned integers.
    pub negative: u64,
}

impl ClassCounts {
    /// Adds the counts of another part.
    pub fn merge(&mut self, other: &Self) {
        self.nan += other.nan;
        self.positive_infinity += other.positive_infinity;
        self.negative_infinity += other.negative_infinity;
        self.zero += other.zero;
        self.subnormal += other.subnormal;
        self.negative += other.negative;
    }
}

/// The summary of a tensor or a part of it. Merging adds counts and sums and widens the extremes.
#[derive(Debug, Clone)]
pub struct WordSummary {
    words: WordFormat,
    /// Which bins of `low_sums` may be non-zero.
    touched: TouchedBins,
    /// The number of words in each class.
    pub classes: ClassCounts,
    /// The smallest [`ordered_key`] of a finite word; `u64::MAX` if there is none.
    pub min_key: u64,
    /// The largest [`ordered_key`] of a finite word; 0 if there is none.
    pub max_key: u64,
    /// For 32-bit words, the sum of the low halves for each bin of the high half (65,536 sums). Empty for
    /// 64-bit words.
    pub low_sums: Vec<u64>,
    /// For 64-bit words, the sums of the low and of the high 32 bits, both unsigned. Zero for 32-bit words.
    pub half_sums: [u128; 2],
}

/// Compares measurements only; which bins are marked as touched does not matter.
impl PartialEq for WordSummary {
    fn eq(&self, other: &Self) -> bool {
        self.words == other.words
            && self.classes == other.classes
            && (self.min_key, self.max_key) == (other.min_key, other.max_key)
            && self.low_sums == other.low_sums
            && self.half_sums == other.half_sums
    }
}

impl Eq for WordSummary {}

/// For up to this number of bytes each touched bin is marked; for more, all bins are marked.
const TOUCH_LIMIT_BYTES: usize = 16 << 10;

/// Maps the bits of a word to an unsigned integer that orders as the value does (NaN excepted):
/// for floats the sign bit is flipped for positive and all bits for negative words, for signed
/// integers the sign bit is flipped.
pub fn ordered_key(words: WordFormat, bits: u64) -> u64 {
    match words {
        WordFormat::F32 => u64::from(key_f32(bits as u32)),
        WordFormat::I32 => u64::from(bits as u32 ^ 1 << 31),
        WordFormat::F64 => key_f64(bits),
        WordFormat::I64 => bits ^ 1 << 63,
        _ => bits,
    }
}

/// Returns the bits whose [`ordered_key`] is `key`.
pub fn from_ordered_key(words: WordFormat, key: u64) -> u64 {
    match words {
        WordFormat::F32 => {
            let key = key as u32;
            u64::from(if key >> 31 == 1 { key ^ 1 << 31 } else { !key })
        }
        WordFormat::I32 => u64::from(key as u32 ^ 1 << 31),
        WordFormat::F64 => {
            if key >> 63 == 1 {
                key ^ 1 << 63
            } else {
                !key
            }
        }
        WordFormat::I64 => key ^ 1 << 63,
        _ => key,
    }
}

fn key_f32(bits: u32) -> u32 {
    bits ^ (((bits as i32 >> 31) as u32) | 1 << 31)
}

fn key_f64(bits: u64) -> u64 {
    bits ^ (((bits as i64 >> 63) as u64) | 1 << 63)
}

impl WordSummary {
    /// Creates the summary of no words. `words` must have a summary: [`WordFormat::has_summary`].
    pub fn new(words: WordFormat) -> Self {
        debug_assert!(words.has_summary());
        let bins = if words.width() == 4 { BINS } else { 0 };
        Self {
            words,
            touched: TouchedBins::NONE,
            classes: ClassCounts::default(),
            min_key: u64::MAX,
            max_key: 0,
            low_sums: vec![0; bins],
            half_sums: [0; 2],
        }
    }

    /// Returns the format of the words.
    pub fn words(&self) -> WordFormat {
        self.words
    }

    /// Adds another part of the same tensor.
    pub fn merge(&mut self, other: &Self) {
        self.classes.merge(&other.classes);
        self.min_key = self.min_key.min(other.min_key);
        self.max_key = self.max_key.max(other.max_key);
        for group in other.touched.groups(self.low_sums.len()) {
            for (sum, part) in self.low_sums[group.clone()].iter_mut().zip(&other.low_sums[group]) {
                *sum += part;
            }
        }
        self.touched.merge(&other.touched);
        for (sum, part) in self.half_sums.iter_mut().zip(other.half_sums) {
            *sum += part;
        }
    }

    /// Resets to the summary of no words, and keeps the memory.
    pub fn clear(&mut self) {
        let mut low_sums = std::mem::take(&mut self.low_sums);
        for group in self.touched.groups(low_sums.len()) {
            low_sums[group].fill(0);
        }
        *self = Self {
            words: self.words,
            touched: TouchedBins::NONE,
            classes: ClassCounts::default(),
            min_key: u64::MAX,
            max_key: 0,
            low_sums,
            half_sums: [0; 2],
        };
    }

    /// Sets the sums that a device returned.
    pub fn set_low_sums(&mut self, sums: impl Iterator<Item = u64>) {
        for (sum, part) in self.low_sums.iter_mut().zip(sums) {
            *sum = part;
        }
        self.touched = TouchedBins::ALL;
    }

    /// CPU kernel: adds the words of `bytes`; trailing bytes short of a word are not counted.
    pub fn add(&mut self, bytes: &[u8]) {
        // Slices are short enough for 32-bit counters, which vectorise twice as wide.
        for part in bytes.chunks(1 << 20) {
            match self.words.width() {
                4 => {
                    self.add_extremes32(part);
                    self.touch(part);
                    for word in part.as_chunks::<4>().0 {
                        let v = u32::from_le_bytes(*word);
                        self.low_sums[(v >> 16) as usize] += u64::from(v as u16);
                    }
                }
                _ => self.add64(part),
            }
        }
    }

    fn touch(&mut self, bytes: &[u8]) {
        if bytes.len() > TOUCH_LIMIT_BYTES {
            self.touched = TouchedBins::ALL;
            return;
        }
        for word in bytes.as_chunks::<4>().0 {
            self.touched.touch(u16::from_le_bytes([word[2], word[3]]));
        }
    }

    fn add_extremes32(&mut self, bytes: &[u8]) {
        let words = bytes.as_chunks::<4>().0;
        let (mut min, mut max) = (u32::MAX, 0u32);
        let (mut zero, mut negative) = (0u32, 0u32);
        match self.words {
            WordFormat::F32 => {
                const EXPONENT: u32 = 0x7F80_0000;
                let (mut nan, mut inf, mut neg_inf, mut subnormal) = (0u32, 0u32, 0u32, 0u32);
                for word in words {
                    let v = u32::from_le_bytes(*word);
                    let magnitude = v & !(1 << 31);
                    let key = key_f32(v);
                    let finite = magnitude < EXPONENT;
                    nan += u32::from(magnitude > EXPONENT);
                    inf += u32::from(v == EXPONENT);
                    neg_inf += u32::from(v == EXPONENT | 1 << 31);
                    zero += u32::from(magnitude == 0);
                    subnormal += u32::from(magnitude.wrapping_sub(1) < 0x7F_FFFF);
                    negative += v >> 31;
                    min = min.min(if finite { key } else { u32::MAX });
                    max = max.max(if finite { key } else { 0 });
                }
                self.classes.nan += u64::from(nan);
                self.classes.positive_infinity += u64::from(inf);
                self.classes.negative_infinity += u64::from(neg_inf);
                self.classes.subnormal += u64::from(subnormal);
            }
            kind => {
                let signed = u32::from(kind == WordFormat::I32);
                for word in words {
                    let v = u32::from_le_bytes(*word);
                    let key = v ^ signed << 31;
                    zero += u32::from(v == 0);
                    negative += signed & (v >> 31);
                    min = min.min(key);
                    max = max.max(key);
                }
            }
        }
        self.classes.zero += u64::from(zero);
        self.classes.negative += u64::from(negative);
        // The key of a finite word never equals the initial values of `min_key` and `max_key`.
        if min <= max {
            self.min_key = self.min_key.min(u64::from(min));
            self.max_key = self.max_key.max(u64::from(max));
        }
    }

    fn add64(&mut self, bytes: &[u8]) {
        const EXPONENT: u64 = 0x7FF0_0000_0000_0000;
        let float = self.words == WordFormat::F64;
        let signed = self.words != WordFormat::U64;
        let mut sums = [0u64; 2];
        for word in bytes.as_chunks::<8>().0 {
            let v = u64::from_le_bytes(*word);
            sums[0] += v & 0xFFFF_FFFF;
            sums[1] += v >> 32;
            self.classes.negative += u64::from(signed && v >> 63 == 1);
            let magnitude = v & !(1 << 63);
            if float {
                self.classes.nan += u64::from(magnitude > EXPONENT);
                self.classes.positive_infinity += u64::from(v == EXPONENT);
                self.classes.negative_infinity += u64::from(v == EXPONENT | 1 << 63);
                self.classes.zero += u64::from(magnitude == 0);
                self.classes.subnormal += u64::from(magnitude.wrapping_sub(1) < (1 << 52) - 1);
                if magnitude >= EXPONENT {
                    continue;
                }
            } else {
                self.classes.zero += u64::from(v == 0);
            }
            let key = ordered_key(self.words, v);
            self.min_key = self.min_key.min(key);
            self.max_key = self.max_key.max(key);
        }
        for (sum, part) in self.half_sums.iter_mut().zip(sums) {
            *sum += u128::from(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn summary(words: WordFormat, bytes: &[u8]) -> WordSummary {
        let mut summary = WordSummary::new(words);
        summary.add(bytes);
        summary
    }

    /// The bit patterns at the bounds of classes.
    const EDGES: [u32; 14] = [
        0,
        1 << 31,
        1,
        0x8000_0001,
        0x007F_FFFF,
        0x0080_0000,
        0x7F7F_FFFF,
        0xFF7F_FFFF,
        0x7F80_0000,
        0xFF80_0000,
        0x7F80_0001,
        0xFFFF_FFFF,
        0x3F80_0000,
        0x7FFF_FFFF,
    ];

    fn word32() -> impl Strategy<Value = u32> {
        prop_oneof![any::<u32>(), prop::sample::select(EDGES.to_vec())]
    }

    proptest! {
        #[test]
        fn f32_agrees_with_the_language(words in prop::collection::vec(word32(), 0..200)) {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            let s = summary(WordFormat::F32, &bytes);
            let values: Vec<f32> = words.iter().map(|w| f32::from_bits(*w)).collect();
            let count = |f: fn(&f32) -> bool| values.iter().filter(|v| f(v)).count() as u64;
            prop_assert_eq!(s.classes.nan, count(|v| v.is_nan()));
            prop_assert_eq!(s.classes.positive_infinity, count(|v| *v == f32::INFINITY));
            prop_assert_eq!(s.classes.negative_infinity, count(|v| *v == f32::NEG_INFINITY));
            prop_assert_eq!(s.classes.zero, count(|v| *v == 0.0));
            prop_assert_eq!(s.classes.subnormal, count(|v| v.is_subnormal()));
            prop_assert_eq!(s.classes.negative, count(|v| v.is_sign_negative()));
            let mut finite: Vec<f32> = values.into_iter().filter(|v| v.is_finite()).collect();
            finite.sort_by(f32::total_cmp);
            if let (Some(min), Some(max)) = (finite.first(), finite.last()) {
                prop_assert_eq!(from_ordered_key(WordFormat::F32, s.min_key), u64::from(min.to_bits()));
                prop_assert_eq!(from_ordered_key(WordFormat::F32, s.max_key), u64::from(max.to_bits()));
            } else {
                prop_assert!(s.min_key > s.max_key);
            }
        }

        #[test]
        fn f64_and_integers_agree_with_the_language(words in prop::collection::vec(any::<u64>(), 1..50)) {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            let s = summary(WordFormat::I64, &bytes);
            let min = words.iter().map(|w| *w as i64).min().unwrap();
            prop_assert_eq!(from_ordered_key(WordFormat::I64, s.min_key) as i64, min);
            let total: i128 = words.iter().map(|w| i128::from(*w as i64)).sum();
            let mine = s.half_sums[0] as i128 + ((s.half_sums[1] as i128) << 32)
                - ((s.classes.negative as i128) << 64);
            prop_assert_eq!(mine, total);
            let s = summary(WordFormat::F64, &bytes);
            let nan = words.iter().filter(|w| f64::from_bits(**w).is_nan()).count();
            prop_assert_eq!(s.classes.nan, nan as u64);
        }

        #[test]
        fn parts_merge_to_the_whole(bytes in prop::collection::vec(any::<u8>(), 64), cut in 0usize..8) {
            for words in WordFormat::ALL.into_iter().filter(|w| w.has_summary()) {
                let (a, b) = bytes.split_at(cut * 8);
                let mut sum = summary(words, a);
                sum.merge(&summary(words, b));
                prop_assert_eq!(sum, summary(words, &bytes));
            }
        }

        #[test]
        fn keys_order_and_invert(a in any::<u64>(), b in any::<u64>()) {
            for words in [WordFormat::I64, WordFormat::U64, WordFormat::F64] {
                prop_assert_eq!(from_ordered_key(words, ordered_key(words, a)), a);
            }
            prop_assert_eq!(ordered_key(WordFormat::I64, a) < ordered_key(WordFormat::I64, b), (a as i64) < (b as i64));
            let (x, y) = (f64::from_bits(a), f64::from_bits(b));
            if x < y { prop_assert!(ordered_key(WordFormat::F64, a) < ordered_key(WordFormat::F64, b)); }
        }
    }
}
