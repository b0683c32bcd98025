//! Statistics of a tensor's values in a seal, computed on the CPU from exact counts.
//!
//! All arithmetic is f64 with + − × ÷, square root and `libm`, in a fixed order over the bins, so that equal counts give
//! equal bits on every platform, as canonical JSON needs. [`Distribution::resolution`] and `docs/formats.md` tell what is
//! exact and what has bin resolution.

use super::canonical::Real;
use super::codes::CodeStatistics;
pub use super::counts::SignExponent;
use super::counts::leb128;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensorseal_base::dtype::{Dtype, FloatFormat, FloatValue, NumberFormat};
use tensorseal_engine::collect::ObjectMeasurement;
use tensorseal_engine::measure::WordFormat;
use tensorseal_engine::measure::codes::CodeCounts;
use tensorseal_engine::measure::histogram::Histogram;
use tensorseal_engine::measure::summary::{ClassCounts, WordSummary, from_ordered_key};
use tensorseal_engine::measure::touched_bins::TouchedBins;

/// The quantiles of a [`Distribution`], in thousandths.
pub const QUANTILES: [u64; 9] = [1, 10, 50, 250, 500, 750, 950, 990, 999];

/// Statistics of the values of a tensor. Moments, extremes and quantiles are those of the finite values. They are null if
/// there are no finite values, or if the counts do not determine them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// Statistics of the quantisation blocks; block-quantised types only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codes: Option<CodeStatistics>,
    /// The number of values: elements, or real and imaginary parts for C64.
    pub count: u64,
    /// The Shannon entropy in bits of the codes of 8-bit, 16-bit and block-quantised types, and of the highest 16 bits of
    /// wider types.
    pub entropy: Real,
    /// The excess kurtosis, m4 / m2² − 3.
    pub kurtosis: Real,
    /// The largest finite value.
    pub max: Real,
    /// The mean of the finite values.
    pub mean: Real,
    /// The smallest finite value.
    pub min: Real,
    /// The number of NaN values.
    pub nan: u64,
    /// The number of negative infinities.
    pub negative_infinity: u64,
    /// The number of positive infinities.
    pub positive_infinity: u64,
    /// The values at the ranks ⌈n·q⌉ for q of [`QUANTILES`].
    pub quantiles: [Real; 9],
    /// How finely the counts resolve the values.
    pub resolution: Resolution,
    /// The counts of values by sign and exponent, from which drift is measured.
    pub sign_exponent: SignExponent,
    /// The skewness, m3 / m2^(3/2).
    pub skewness: Real,
    /// The population standard deviation, √m2.
    pub standard_deviation: Real,
    /// The number of subnormal values: non-zero values with the smallest exponent field.
    pub subnormal: u64,
    /// The number of zeros of either sign.
    pub zero: u64,
}

impl Distribution {
    /// Returns the number of infinities of either sign.
    pub fn infinite(&self) -> u64 {
        self.positive_infinity.saturating_add(self.negative_infinity)
    }

    /// Returns the number of values that are NaN or infinite.
    pub fn not_finite(&self) -> u64 {
        self.nan.saturating_add(self.infinite())
    }

    /// Returns the base-2 exponents of the finite non-zero values with their counts, ascending. Subnormal values count as
    /// those of the smallest normal exponent. The result is empty if there are no counts or they are malformed.
    pub fn exponents(&self, dtype: Dtype) -> Vec<(i32, u64)> {
        let mut zeros = self.zero;
        let mut counts: BTreeMap<i32, u64> = BTreeMap::new();
        for (index, count) in self.sign_exponent.decode() {
            let field = (index / 2) as i32;
            // Zeros are counted with the smallest exponent field, of either sign.
            let zero_count = if field == 0 { count.min(zeros) } else { 0 };
            zeros -= zero_count;
            let exponent = match dtype.number_format() {
                NumberFormat::Float(format) => field.max(1) - format.bias,
                _ => field - 1,
            };
            let total = counts.entry(exponent).or_default();
            *total = total.saturating_add(count - zero_count);
        }
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

/// How finely the counts resolve the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// The counts resolve every value, and all statistics are exact.
    Exact,
    /// The counts resolve the highest 16 bits. Counts, extremes and, for up to 32 bits, the mean are exact. Quantiles and
    /// higher moments are those of the means of the bins, or of their midpoints for F64.
    Bin,
    /// The counts are those of bytes, since elements cross byte boundaries.
    Bytes,
    /// The counts are those of codes and of scales, not of the values that they make together.
    Codes,
}

/// A distinct value, or a bin of values that lie close together.
#[derive(Debug, Clone, Copy)]
struct Bin {
    value: f64,
    count: u64,
    sign_exponent: usize,
}

/// Returns the statistics of a measured tensor, if its words or its quantisation blocks were counted.
pub fn distribution_of(dtype: Dtype, finished: &ObjectMeasurement<'_>) -> Option<Distribution> {
    let words = finished.histogram.map(|words| distribution(dtype, words, finished.summary));
    words.or(finished.codes.as_ref().map(from_blocks))
}

/// Returns the statistics of a block-quantised tensor, from the counts of its codes and scales.
pub fn from_blocks(codes: &CodeCounts) -> Distribution {
    Distribution {
        codes: Some(CodeStatistics::from_codes(codes)),
        count: codes.elements.iter().sum(),
        entropy: Real(entropy_of(codes.elements.iter().copied().filter(|count| *count > 0))),
        ..no_statistics(Resolution::Codes)
    }
}

/// Returns the statistics of a tensor of type `dtype` from its counts.
///
/// `summary` must be given for words of 32 and 64 bits.
pub fn distribution(
    dtype: Dtype,
    histogram: &Histogram,
    summary: Option<&WordSummary>,
) -> Distribution {
    let entropy = Real(entropy(histogram));
    match (dtype.number_format(), summary) {
        (NumberFormat::Packed, _) => Distribution {
            count: histogram.total() * 4 / 3,
            entropy,
            ..no_statistics(Resolution::Bytes)
        },
        // Word counts do not describe quantisation blocks: see [`from_blocks`].
        (NumberFormat::BlockQuantised, _) => no_statistics(Resolution::Codes),
        (number, None) => narrow(dtype, number, histogram, entropy),
        (number, Some(summary)) => wide(number, histogram, summary, entropy),
    }
}

fn no_statistics(resolution: Resolution) -> Distribution {
    const NULL: Real = Real(f64::NAN);
    Distribution {
        codes: None,
        count: 0,
        entropy: NULL,
        kurtosis: NULL,
        max: NULL,
        mean: NULL,
        min: NULL,
        nan: 0,
        negative_infinity: 0,
        positive_infinity: 0,
        quantiles: [NULL; 9],
        resolution,
        sign_exponent: SignExponent { counts: String::new(), first: 0 },
        skewness: NULL,
        standard_deviation: NULL,
        subnormal: 0,
        zero: 0,
    }
}

/// Handles types of up to 16 bits, for which the histogram has every value.
fn narrow(
    dtype: Dtype,
    number: NumberFormat,
    histogram: &Histogram,
    entropy: Real,
) -> Distribution {
    let nibbles = (dtype.bits() == 4).then(|| nibbles(histogram.high()));
    let counts = nibbles.as_deref().unwrap_or(histogram.high());
    let bits = dtype.bits();
    let mut classes = ClassCounts::default();
    let mut bins = Vec::new();
    let touched = if nibbles.is_some() { TouchedBins::ALL } else { histogram.high_touched() };
    for (code, count) in in_value_order(number, counts, touched) {
        let (decoded, subnormal, index) = decode(number, bits, code);
        match decoded {
            FloatValue::Nan => classes.nan += count,
            FloatValue::Infinity(false) => classes.positive_infinity += count,
            FloatValue::Infinity(true) => classes.negative_infinity += count,
            FloatValue::Finite(value) => {
                classes.zero += if value == 0.0 { count } else { 0 };
                classes.subnormal += if subnormal { count } else { 0 };
                bins.push(Bin { value, count, sign_exponent: index });
            }
        }
    }
    let range = bins.first().zip(bins.last()).map(|(min, max)| (min.value, max.value));
    let mean = mean_of(&bins);
    finish(Resolution::Exact, counts.iter().sum(), classes, range, mean, &bins, entropy)
}

/// Handles types of 32 and 64 bits, with two tables of 16 bits and a summary for what the tables leave open.
fn wide(
    number: NumberFormat,
    histogram: &Histogram,
    summary: &WordSummary,
    entropy: Real,
) -> Distribution {
    let words = summary.words();
    let total = histogram.total();
    let empty = summary.min_key > summary.max_key;
    let extremes = (!empty).then(|| {
        [summary.min_key, summary.max_key].map(|key| value_of(words, from_ordered_key(words, key)))
    });
    // If every word has the same upper bits, the low table has the values themselves.
    let one_prefix = !empty
        && summary.min_key >> 16 == summary.max_key >> 16
        && !matches!(number, NumberFormat::Float(_));
    let (resolution, bins) = if one_prefix {
        let prefix = from_ordered_key(words, summary.min_key) & !0xFFFF;
        (Resolution::Exact, low_bins(words, number, prefix, histogram))
    } else {
        (Resolution::Bin, high_bins(words, number, histogram, summary))
    };
    let mean = match words {
        WordFormat::I64 | WordFormat::U64 => integer_mean(summary, total),
        _ => mean_of(&bins),
    };
    // The bins lack 48 bits of 64-bit integers, so higher moments would be meaningless.
    let coarse =
        resolution == Resolution::Bin && matches!(words, WordFormat::I64 | WordFormat::U64);
    let range = extremes.map(|[min, max]| (min, max));
    let mut result = finish(resolution, total, summary.classes, range, mean, &bins, entropy);
    if coarse {
        let Distribution { kurtosis, skewness, standard_deviation, quantiles, .. } =
            no_statistics(resolution);
        result = Distribution { kurtosis, skewness, standard_deviation, quantiles, ..result };
    }
    result
}

/// Returns the bins of the high table, in the order of the values, each with the mean of its values.
fn high_bins(
    words: WordFormat,
    number: NumberFormat,
    histogram: &Histogram,
    summary: &WordSummary,
) -> Vec<Bin> {
    let shift = 8 * words.width() as u32 - 16;
    let mut bins = Vec::new();
    for (high, count) in in_value_order(number, histogram.high(), histogram.high_touched()) {
        let base = high << shift;
        let value = match summary.low_sums.get(high as usize) {
            // The mean of the bin. Within a bin, a value is linear in its low half.
            Some(sum) => {
                let (lowest, next) = (value_of(words, base), value_of(words, base + 1));
                lowest + (next - lowest) * (*sum as f64 / count as f64)
            }
            None => value_of(words, base | 1 << (shift - 1)),
        };
        if value.is_finite() {
            let sign_exponent = match number {
                NumberFormat::Float(format) => {
                    let (sign, exponent, _) = format.fields(base);
                    2 * exponent as usize + usize::from(sign)
                }
                _ => magnitude_index(value_of(words, base)),
            };
            bins.push(Bin { value, count, sign_exponent });
        }
    }
    bins
}

/// Returns the bins of the low table, if all values share their other bits.
fn low_bins(
    words: WordFormat,
    number: NumberFormat,
    prefix: u64,
    histogram: &Histogram,
) -> Vec<Bin> {
    debug_assert!(!matches!(number, NumberFormat::Float(_)));
    // With one prefix, values ascend with their low bits, whatever the sign.
    in_value_order(NumberFormat::Unsigned, histogram.low(), histogram.low_touched())
        .into_iter()
        .map(|(bits, count)| {
            let value = value_of(words, prefix | bits);
            Bin { value, count, sign_exponent: magnitude_index(value) }
        })
        .collect()
}

/// Returns the value of a 32-bit or 64-bit word.
fn value_of(words: WordFormat, bits: u64) -> f64 {
    match words {
        WordFormat::F32 => f64::from(f32::from_bits(bits as u32)),
        WordFormat::I32 => f64::from(bits as u32 as i32),
        WordFormat::F64 => f64::from_bits(bits),
        WordFormat::I64 => bits as i64 as f64,
        _ => bits as f64,
    }
}

fn magnitude_index(value: f64) -> usize {
    let length = if value == 0.0 { 0 } else { libm::ilogb(value) as usize + 1 };
    2 * length + usize::from(value < 0.0)
}

/// Returns the value of a code of up to 16 bits, whether it is subnormal, and its sign-exponent index.
fn decode(number: NumberFormat, bits: u32, code: u64) -> (FloatValue, bool, usize) {
    match number {
        NumberFormat::Float(format) => {
            let (sign, exponent, _) = format.fields(code);
            let index = 2 * exponent as usize + usize::from(sign);
            (format.decode(code), format.is_subnormal(code), index)
        }
        NumberFormat::Signed => {
            let value = ((code << (64 - bits)) as i64 >> (64 - bits)) as f64;
            (FloatValue::Finite(value), false, magnitude_index(value))
        }
        _ => (FloatValue::Finite(code as f64), false, magnitude_index(code as f64)),
    }
}

/// Returns the codes that have counts, with their counts, from the smallest value to the largest.
fn in_value_order(number: NumberFormat, counts: &[u64], touched: TouchedBins) -> Vec<(u64, u64)> {
    let mut counted: Vec<(u64, u64)> = Vec::new();
    for group in touched.groups(counts.len()) {
        let codes = group.filter(|code| counts[*code] > 0);
        counted.extend(codes.map(|code| (code as u64, counts[code])));
    }
    // The upper half of the codes has the sign bit set. It comes first, and in reverse order for floats.
    let negative = counted.partition_point(|(code, _)| *code < counts.len() as u64 / 2);
    match number {
        NumberFormat::Float(FloatFormat { signed: true, .. }) => {
            counted[negative..].reverse();
            counted.rotate_left(negative);
        }
        NumberFormat::Signed => counted.rotate_left(negative),
        _ => {}
    }
    counted
}

/// Returns the counts of 4-bit codes from the counts of bytes, which hold two codes each.
fn nibbles(bytes: &[u64]) -> Vec<u64> {
    let mut counts = vec![0; 16];
    for (byte, count) in bytes.iter().enumerate() {
        counts[byte & 15] += count;
        counts[byte >> 4] += count;
    }
    counts
}

/// A compensated sum, which is accurate to the last bits of an f64. Source: A. Neumaier, 1974.
#[derive(Default)]
struct NeumaierSum {
    sum: f64,
    compensation: f64,
}

impl NeumaierSum {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.compensation += if libm::fabs(self.sum) >= libm::fabs(value) {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        self.sum = sum;
    }

    fn total(values: impl Iterator<Item = f64>) -> f64 {
        let mut sum = NeumaierSum::default();
        values.for_each(|value| sum.add(value));
        sum.sum + sum.compensation
    }
}

fn mean_of(bins: &[Bin]) -> f64 {
    let count: u64 = bins.iter().map(|bin| bin.count).sum();
    NeumaierSum::total(bins.iter().map(|bin| bin.value * bin.count as f64)) / count as f64
}

/// Returns the mean of 64-bit integers, from the exact sums of their halves.
fn integer_mean(summary: &WordSummary, total: u64) -> f64 {
    let [low, high] = summary.half_sums.map(|sum| sum as i128);
    let sum = low + (high << 32) - (i128::from(summary.classes.negative) << 64);
    sum as f64 / total as f64
}

fn entropy(histogram: &Histogram) -> f64 {
    let counts = in_value_order(NumberFormat::Unsigned, histogram.high(), histogram.high_touched());
    entropy_of(counts.iter().map(|(_, count)| *count))
}

/// Returns the Shannon entropy in bits of counts that are not zero; NaN without counts.
fn entropy_of(counts: impl Iterator<Item = u64> + Clone) -> f64 {
    let total: u64 = counts.clone().sum();
    if total == 0 {
        return f64::NAN;
    }
    NeumaierSum::total(counts.map(|count| {
        let share = count as f64 / total as f64;
        -share * libm::log2(share)
    }))
}

fn finish(
    resolution: Resolution,
    count: u64,
    classes: ClassCounts,
    range: Option<(f64, f64)>,
    mean: f64,
    bins: &[Bin],
    entropy: Real,
) -> Distribution {
    let finite: u64 = bins.iter().map(|bin| bin.count).sum();
    let moment = |power: u32| {
        let terms = bins.iter().map(|bin| {
            let deviation = bin.value - mean;
            (0..power).fold(bin.count as f64, |product, _| product * deviation)
        });
        NeumaierSum::total(terms) / finite as f64
    };
    let (m2, m3, m4) = (moment(2), moment(3), moment(4));
    let deviation = libm::sqrt(m2);
    let (min, max) = range.unwrap_or((f64::NAN, f64::NAN));
    Distribution {
        codes: None,
        count,
        entropy,
        kurtosis: Real(m4 / (m2 * m2) - 3.0),
        max: Real(max),
        mean: Real(mean),
        min: Real(min),
        nan: classes.nan,
        negative_infinity: classes.negative_infinity,
        positive_infinity: classes.positive_infinity,
        quantiles: quantiles(bins, finite, min, max),
        resolution,
        sign_exponent: sign_exponent(bins),
        skewness: Real(m3 / (m2 * deviation)),
        standard_deviation: Real(deviation),
        subnormal: classes.subnormal,
        zero: classes.zero,
    }
}

/// Returns the nearest-rank quantiles: the values at the ranks ⌈n·q⌉, clamped to the exact extremes.
fn quantiles(bins: &[Bin], finite: u64, min: f64, max: f64) -> [Real; 9] {
    let mut cumulative = 0;
    let mut bins = bins.iter();
    let mut value = f64::NAN;
    QUANTILES.map(|thousandths| {
        let rank = (u128::from(finite) * u128::from(thousandths)).div_ceil(1000) as u64;
        while cumulative < rank {
            let Some(bin) = bins.next() else { break };
            cumulative += bin.count;
            value = bin.value;
        }
        Real(if value < min {
            min
        } else if value > max {
            max
        } else {
            value
        })
    })
}

fn sign_exponent(bins: &[Bin]) -> SignExponent {
    let Some(first) = bins.iter().map(|bin| bin.sign_exponent).min() else {
        return SignExponent { counts: String::new(), first: 0 };
    };
    let last = bins.iter().map(|bin| bin.sign_exponent).max().unwrap_or(first);
    let mut counts = vec![0u64; last - first + 1];
    for bin in bins {
        counts[bin.sign_exponent - first] += bin.count;
    }
    SignExponent { counts: leb128(&counts), first: first as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tensorseal_engine::measure;

    fn of_bytes(dtype: Dtype, bytes: &[u8]) -> Distribution {
        let measured = measure::measure_tile(bytes, 0, WordFormat::from_dtype(dtype).into(), &[]);
        distribution(dtype, &measured.histogram.unwrap(), measured.summary.as_ref())
    }

    fn bytes_of<const N: usize, T: Copy>(values: &[T], to: fn(T) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(|v| to(*v)).collect()
    }

    #[test]
    fn small_integers_are_exact_in_every_width() {
        let values: Vec<i8> = vec![-3, -1, 0, 0, 5, 100];
        let narrow = of_bytes(Dtype::I8, &bytes_of(&values, i8::to_le_bytes));
        let wide: Vec<i64> = values.iter().map(|v| i64::from(*v) + 7).collect();
        let positive: Vec<i64> = wide.iter().map(|v| *v + 1000).collect();
        let wide = of_bytes(Dtype::I64, &bytes_of(&positive, i64::to_le_bytes));
        assert_eq!(narrow.mean.0, 101.0 / 6.0);
        assert_eq!((narrow.min.0, narrow.max.0, narrow.zero), (-3.0, 100.0, 2));
        assert_eq!(narrow.quantiles[4].0, 0.0);
        assert_eq!(wide.resolution, Resolution::Exact);
        assert_eq!(wide.mean.0, 101.0 / 6.0 + 1007.0);
        assert!((wide.standard_deviation.0 - narrow.standard_deviation.0).abs() < 1e-9);
    }

    #[test]
    fn integers_of_both_signs_keep_an_exact_mean() {
        let values = [i64::MIN, -1, 7, i64::MAX];
        let wide = of_bytes(Dtype::I64, &bytes_of(&values, i64::to_le_bytes));
        assert_eq!(wide.mean.0, 5.0 / 4.0);
        assert_eq!((wide.min.0, wide.max.0), (i64::MIN as f64, i64::MAX as f64));
        assert!(wide.standard_deviation.0.is_nan());
    }

    #[test]
    fn classes_of_floats_are_distinguished() {
        let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-45, 2.0, -2.0];
        let d = of_bytes(Dtype::F32, &bytes_of(&values, f32::to_le_bytes));
        assert_eq!((d.nan, d.positive_infinity, d.negative_infinity), (1, 1, 1));
        assert_eq!((d.zero, d.subnormal, d.count), (1, 1, 7));
        assert_eq!((d.min.0, d.max.0), (-2.0, 2.0));
        let halves: Vec<u16> = values.iter().map(|v| half::bf16::from_f32(*v).to_bits()).collect();
        let h = of_bytes(Dtype::BF16, &bytes_of(&halves, u16::to_le_bytes));
        assert_eq!((h.nan, h.positive_infinity, h.negative_infinity), (1, 1, 1));
    }

    #[test]
    fn exponents_match_the_values() {
        let values = [0.0f32, -0.0, 1.0, -1.5, 0.75, 3e38, 1e-40, f32::NAN, f32::INFINITY];
        let d = of_bytes(Dtype::F32, &bytes_of(&values, f32::to_le_bytes));
        assert_eq!(d.exponents(Dtype::F32), [(-126, 1), (-1, 1), (0, 2), (127, 1)]);
        let d = of_bytes(Dtype::I8, &[0, 1, 255, 5, 127]);
        assert_eq!(d.exponents(Dtype::I8), [(0, 2), (2, 1), (6, 1)]);
        assert!(of_bytes(Dtype::BF16, &[]).exponents(Dtype::BF16).is_empty());
        // Counts of an untrusted seal can be malformed.
        let odd = |counts: &str, first| SignExponent { counts: counts.to_owned(), first };
        assert_eq!(odd("AQI=", 3).decode(), [(3, 1), (4, 2)]);
        assert!(odd("AQI=", u64::MAX).decode().is_empty());
        assert!(odd("not base64", 0).decode().is_empty());
        assert!(odd("////////////////////", 0).decode().is_empty());
    }

    #[test]
    fn an_empty_tensor_has_no_statistics() {
        for dtype in Dtype::safetensors_types() {
            let d = of_bytes(dtype, &[]);
            assert_eq!(d.count, 0);
            assert!(
                d.mean.0.is_nan() && d.entropy.0.is_nan() && d.quantiles[4].0.is_nan(),
                "{dtype}"
            );
        }
    }

    #[test]
    fn four_bit_floats_are_counted_by_code() {
        let d = of_bytes(Dtype::F4, &[0x27, 0x00]);
        assert_eq!((d.count, d.zero, d.max.0), (4, 2, 6.0));
        assert_eq!(d.mean.0, 7.0 / 4.0);
    }

    proptest! {
        #[test]
        fn f32_statistics_are_those_of_the_values(values in prop::collection::vec(-1e3f32..1e3, 2..300)) {
            let d = of_bytes(Dtype::F32, &bytes_of(&values, f32::to_le_bytes));
            let n = values.len() as f64;
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            let var = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
            prop_assert!((d.mean.0 - mean).abs() <= 1e-9 * (1.0 + mean.abs()), "exact mean");
            // Bins are 2^-7 wide, relative to their values.
            prop_assert!((d.standard_deviation.0 - var.sqrt()).abs() <= 1e3 / 128.0);
            let mut sorted = values.clone();
            sorted.sort_by(f32::total_cmp);
            let median = f64::from(sorted[(values.len()).div_ceil(2) - 1]);
            prop_assert!((d.quantiles[4].0 - median).abs() <= median.abs() / 64.0 + 1e-30);
        }

        #[test]
        fn bf16_statistics_are_exact(bits in prop::collection::vec(any::<u16>(), 1..300)) {
            let d = of_bytes(Dtype::BF16, &bytes_of(&bits, u16::to_le_bytes));
            let mut finite: Vec<f64> = bits.iter().map(|b| half::bf16::from_bits(*b).to_f64())
                .filter(|v| v.is_finite()).collect();
            finite.sort_by(f64::total_cmp);
            if let Some(min) = finite.first() {
                prop_assert_eq!(d.min.0, *min);
                for (q, value) in QUANTILES.iter().zip(d.quantiles) {
                    let rank = (finite.len() as u64 * q).div_ceil(1000).max(1);
                    prop_assert_eq!(value.0, finite[rank as usize - 1]);
                }
            }
        }
    }
}
