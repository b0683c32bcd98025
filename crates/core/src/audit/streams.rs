//! Statistics of the low-bit streams of a tensor, which show whether a payload lies in them.
//!
//! Neighbouring weights are exchangeable: nothing distinguishes the first half of the elements that make up a byte of a
//! stream from the second half. A byte and the same byte with its halves exchanged are therefore equally probable,
//! whatever the distribution of the weights is and however it changes from row to row. Bytes of programs, archives and
//! texts are different: `e` is 0x65, and 0x56 is `V`. Uniformly random bytes, such as encrypted ones, look like weights
//! to this test.

use crate::seal::distribution::Distribution;
use serde::{Deserialize, Serialize};
use tensorseal_engine::measure::BLOCK_LEN;
use tensorseal_engine::measure::correlation::ElementFormat;
use tensorseal_engine::measure::histogram::{BINS, Histogram};
use tensorseal_engine::measure::low_bits::{BitCounts, COUNTED, GROUP_LEN, LowBits, WIDTHS};

/// The number of streams in which each half of a byte consists of whole elements: those of 1, 2 and 4 bits.
const HALVED_STREAMS: usize = 3;

/// The smallest count of a pair of bytes for which Pearson's approximation is used.
const MIN_PAIR_COUNT: u64 = 10;

/// The share of zeros from which streams show only the pattern of the zeros.
pub const MOSTLY_ZERO_FROM: f64 = 0.2;

/// The number of robust standard deviations from which the agreement of a block is odd.
const ODD_FROM: f64 = 8.0;

/// The normalised statistic from which the streams of a tensor are searched for files.
const SUSPICIOUS_FROM: f64 = 12.0;

/// The effect of asymmetry up to which repeated rows explain it.
const SUSPICIOUS_EFFECT: f64 = 0.012;
/// The effect of unevenness in the lowest byte up to which a grid of values explains it.
const UNEVEN_FROM: f64 = 0.2;

/// Pearson's chi-square statistic, and an effect size that does not depend on the number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ChiSquare {
    /// The value of the statistic.
    pub value: f64,
    /// The degrees of freedom.
    pub freedom: f64,
    /// The statistic divided by the number of bytes (Cohen's w²).
    pub effect: f64,
}

impl ChiSquare {
    /// Returns (x − f) / √(2 f), which is about standard normal under the null hypothesis, or 0 without degrees of freedom.
    pub fn z(&self) -> f64 {
        if self.freedom > 0.0 {
            (self.value - self.freedom) / libm::sqrt(2.0 * self.freedom)
        } else {
            0.0
        }
    }
}

/// Statistics of one low-bit stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamFacts {
    /// The number of lowest bits that the stream takes from each element.
    pub bits: usize,
    /// The number of bytes in the stream.
    pub total: u64,
    /// The counts of bytes compared with the counts of the bytes with halves exchanged; none for streams whose bytes do not
    /// split into whole elements.
    pub asymmetry: Option<ChiSquare>,
    /// The share of ones among the bits.
    pub ones: f64,
    /// The shares of bits that equal the next bit, and the eighth bit after them, within words of 64 bits.
    pub agreement: [f64; 2],
    /// The byte range of the tensor, in whole blocks of 1 MiB, where agreement differs from that of the median block.
    pub odd: Option<[u64; 2]>,
    /// The count of each of the 256 bytes.
    #[serde(skip)]
    pub bytes: Vec<u64>,
}

/// Statistics of the streams of a tensor and of its low bits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LowBitFacts {
    /// The statistics of each stream.
    pub streams: Vec<StreamFacts>,
    /// The number of distinct values of the lowest 16 bits, which are the whole value in a 16-bit type.
    pub distinct: u64,
    /// The counts of the non-zero lowest bytes compared with a uniform distribution; 32-bit types only.
    pub lowest_byte: Option<ChiSquare>,
    /// The number of non-zero elements whose lower 16 bits are zero; 32-bit types only.
    pub empty_halves: u64,
}

impl LowBitFacts {
    /// Derives the statistics from the streams and the counts of a tensor; `zeros` is the number of zero elements.
    pub fn new(
        elements: &ElementFormat,
        low_bits: &LowBits,
        histogram: &Histogram,
        zeros: u64,
    ) -> Self {
        let wide = elements.width == 4;
        let low = if wide { histogram.low() } else { histogram.high() };
        let mut lowest = [0u64; 256];
        let mut distinct = 0;
        for (code, count) in low.iter().enumerate().take(BINS) {
            lowest[code & 0xFF] += count;
            distinct += u64::from(*count > 0);
        }
        LowBitFacts {
            streams: (0..WIDTHS.len())
                .map(|index| stream(index, elements.width, low_bits, &lowest))
                .collect(),
            distinct,
            lowest_byte: wide.then(|| evenness(&lowest[1..])),
            empty_halves: if wide { low[0].saturating_sub(zeros) } else { 0 },
        }
    }

    /// Returns whether the streams of the whole tensor should be searched for files. A finding needs stronger evidence.
    pub fn is_suspicious(&self) -> bool {
        let asymmetries = self.streams.iter().filter_map(|stream| stream.asymmetry);
        let uneven = self.lowest_byte.filter(|lowest| lowest.effect > UNEVEN_FROM);
        asymmetries
            .filter(|asymmetry| asymmetry.effect > SUSPICIOUS_EFFECT)
            .chain(uneven)
            .any(|chi_square| chi_square.z() > SUSPICIOUS_FROM)
    }

    /// Returns whether some lower halves are zero and some are not, so that the tensor is neither a plain F32 tensor nor one
    /// that was widened from 16 bits.
    pub fn has_mixed_halves(&self, distribution: &Distribution) -> bool {
        let nonzero = distribution.count - distribution.zero;
        let share = self.empty_halves as f64 / nonzero.max(1) as f64;
        share > 0.02 && self.empty_halves < nonzero
    }
}

fn stream(index: usize, width: usize, low_bits: &LowBits, lowest: &[u64; 256]) -> StreamFacts {
    let bits = WIDTHS[index];
    let sums = low_bits.blocks.iter().fold([0u64; 3], |sums, block| {
        let BitCounts { ones, lag1, lag8 } = block[index];
        [sums[0] + u64::from(ones), sums[1] + u64::from(lag1), sums[2] + u64::from(lag8)]
    });
    // Every stream of k bits has k words of 64 bits for each group of elements.
    let groups = low_bits.bytes[0].iter().sum::<u64>() / 8;
    let words = groups * bits as u64;
    let share = |count: u64, each: u64| count as f64 / (words * each).max(1) as f64;
    let counts = if index < COUNTED { &low_bits.bytes[index] } else { lowest };
    StreamFacts {
        bits,
        total: 8 * words,
        asymmetry: (index < HALVED_STREAMS).then(|| asymmetry(counts)),
        ones: share(sums[0], 64),
        agreement: [share(sums[1], 63), share(sums[2], 56)],
        odd: odd_blocks(low_bits, index, width),
        bytes: counts.to_vec(),
    }
}

/// Sums (a − b)² / (a + b) over the pairs of bytes that are each other with halves exchanged, with one degree of freedom
/// per pair. This is a conditional test: given their sum, the two counts follow a fair coin.
fn asymmetry(counts: &[u64; 256]) -> ChiSquare {
    let mut sum = ChiSquare::default();
    for (byte, count) in counts.iter().enumerate() {
        let exchanged = (byte & 15) << 4 | byte >> 4;
        let exchanged_count = counts[exchanged];
        if byte < exchanged && count + exchanged_count >= MIN_PAIR_COUNT {
            let difference = *count as f64 - exchanged_count as f64;
            sum.value += difference * difference / (count + exchanged_count) as f64;
            sum.freedom += 1.0;
        }
    }
    sum.effect = sum.value / counts.iter().sum::<u64>().max(1) as f64;
    sum
}

/// Compares counts with a uniform distribution.
fn evenness(counts: &[u64]) -> ChiSquare {
    let total: u64 = counts.iter().sum();
    let expected = total as f64 / counts.len() as f64;
    if expected < MIN_PAIR_COUNT as f64 {
        return ChiSquare::default();
    }
    let terms = counts.iter().map(|count| {
        let difference = *count as f64 - expected;
        difference * difference / expected
    });
    let value: f64 = terms.sum();
    ChiSquare { value, freedom: counts.len() as f64 - 1.0, effect: value / total as f64 }
}

fn odd_blocks(low_bits: &LowBits, stream: usize, width: usize) -> Option<[u64; 2]> {
    // Only whole blocks are compared, since the last one has fewer pairs.
    let whole_blocks = low_bits.blocks.len().saturating_sub(1);
    if whole_blocks < 3 {
        return None;
    }
    let words = (BLOCK_LEN / width / GROUP_LEN * WIDTHS[stream]) as f64;
    let mut odd: Vec<usize> = Vec::new();
    for (pairs, lag) in [(63.0 * words, 0), (56.0 * words, 1)] {
        let agreement: Vec<f64> = low_bits.blocks[..whole_blocks]
            .iter()
            .map(|block| {
                let BitCounts { lag1, lag8, .. } = block[stream];
                f64::from([lag1, lag8][lag]) / pairs
            })
            .collect();
        let median = median(agreement.clone());
        let deviations = agreement.iter().map(|share| libm::fabs(share - median)).collect();
        // At least the deviation of a fair coin: half over the square root of the number of pairs.
        let spread = (1.4826 * self::median(deviations)).max(0.5 / libm::sqrt(pairs));
        let is_odd = |index: &usize| libm::fabs(agreement[*index] - median) > ODD_FROM * spread;
        odd.extend((0..whole_blocks).filter(is_odd));
    }
    let (first, last) = (odd.iter().min()?, odd.iter().max()?);
    let block = BLOCK_LEN as u64;
    Some([*first as u64 * block, (*last as u64 + 1) * block])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorseal_base::dtype::Dtype;
    use tensorseal_engine::measure::WordFormat;
    use tensorseal_engine::measure::histogram::CounterTable;

    fn facts(words: &[u16]) -> LowBitFacts {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let elements = ElementFormat::from_dtype(Dtype::BF16).unwrap();
        let mut low_bits = LowBits::for_range(0, bytes.len() as u64);
        for (block, start) in bytes.chunks(BLOCK_LEN).zip((0..).step_by(BLOCK_LEN)) {
            low_bits.add(&elements, start, block);
        }
        let (mut table, mut histogram) = (CounterTable::new(), Histogram::new(WordFormat::Bits16));
        table.count(WordFormat::Bits16, &bytes);
        table.drain_into(WordFormat::Bits16, &mut histogram);
        LowBitFacts::new(&elements, &low_bits, &histogram, 0)
    }

    /// Rows of different granularity, for which a test that assumes independent neighbours would be wrong.
    fn weights(len: usize) -> Vec<u16> {
        let mut noise = vec![0; 2 * len];
        blake3::Hasher::new().update(b"weights").finalize_xof().fill(&mut noise);
        let words = noise.as_chunks::<2>().0.iter().map(|word| u16::from_le_bytes(*word));
        words.enumerate().map(|(i, w)| if i / 1024 % 2 == 0 { w } else { w & 0xFFF0 }).collect()
    }

    #[test]
    fn weights_are_exchangeable_and_text_is_not() {
        let mut words = weights(1 << 20);
        let clean = facts(&words);
        assert!(!clean.is_suspicious(), "{clean:?}");
        let text = b"The quick brown fox jumps over the lazy dog. ";
        for (bit, word) in words.iter_mut().take(1 << 19).enumerate() {
            let byte = text[bit / 8 % text.len()];
            *word = *word & !1 | u16::from(byte >> (bit % 8) & 1);
        }
        let hidden = facts(&words);
        assert!(hidden.is_suspicious());
        let z = |facts: &LowBitFacts, stream: usize| facts.streams[stream].asymmetry.unwrap().z();
        assert!(z(&hidden, 0) > 1000.0 && z(&clean, 0) < 6.0);
    }

    #[test]
    fn blocks_that_differ_are_located() {
        let mut words = weights(6 << 19);
        for word in &mut words[2 << 19..3 << 19] {
            *word &= !1;
        }
        let block = BLOCK_LEN as u64;
        assert_eq!(facts(&words).streams[0].odd, Some([2 * block, 3 * block]));
    }
}
