//! What the streams of low bits look like: do bytes lie in them?
//!
//! Weights that lie side by side are exchangeable: nothing tells the first half of the elements that a
//! byte of a stream is made of from the second half. So a byte and the same byte with its halves
//! exchanged are equally probable, whatever the distribution of the weights, whatever changes from row
//! to row. Bytes of programs, archives and texts are not like that: `e` is 0x65, and 0x56 is `V`. Bytes
//! that are uniformly random are, and look like weights here.

use crate::seal::distribution::Distribution;
use serde::{Deserialize, Serialize};
use tensorseal_engine::measure::BLOCK_LEN;
use tensorseal_engine::measure::correlation::ElementFormat;
use tensorseal_engine::measure::histogram::{BINS, Histogram};
use tensorseal_engine::measure::low_bits::{BitCounts, COUNTED, GROUP_LEN, LowBits, WIDTHS};

/// Streams whose bytes fall into halves of whole elements: those of 1, 2 and 4 bits.
const HALVED: usize = 3;

/// Least expected count of a pair of bytes, below which Pearson's approximation is not used.
const LEAST_PAIR: u64 = 10;

/// Share of zeros from which streams show the pattern of the zeros and nothing else.
pub const MOSTLY_ZERO_FROM: f64 = 0.2;

/// Robust standard deviations from which a block's agreement is odd.
const ODD_FROM: f64 = 8.0;

/// Normalised statistic from which a tensor is looked at again.
const SUSPICIOUS_FROM: f64 = 12.0;

/// Effects below which rows that repeat, or a grid, explain it.
const SUSPICIOUS_EFFECT: f64 = 0.012;
const UNEVEN_FROM: f64 = 0.2;

/// Pearson's chi-square, and how large the effect is whatever the number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ChiSquare {
    /// The statistic.
    pub value: f64,
    /// Its degrees of freedom.
    pub freedom: f64,
    /// The statistic by byte (Cohen's w²).
    pub effect: f64,
}

impl ChiSquare {
    /// (x - f) / sqrt(2 f): about standard normal under the null hypothesis.
    pub fn z(&self) -> f64 {
        if self.freedom > 0.0 {
            (self.value - self.freedom) / libm::sqrt(2.0 * self.freedom)
        } else {
            0.0
        }
    }
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamFacts {
    /// Bits it takes of an element.
    pub bits: usize,
    /// Bytes it has.
    pub total: u64,
    /// Bytes against bytes with their halves exchanged; none for streams whose bytes have no such halves.
    pub asymmetry: Option<ChiSquare>,
    /// Share of ones.
    pub ones: f64,
    /// Share of bits that equal the next one, and the eighth next one, within words of 64 bits.
    pub agreement: [f64; 2],
    /// Bytes of the tensor, whole blocks of 1 MiB, in which agreement is unlike that of the median block.
    pub odd: Option<[u64; 2]>,
    /// Counts of the bytes.
    #[serde(skip)]
    pub bytes: Vec<u64>,
}

/// The streams of a tensor, and how its low bits are spread.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LowBitFacts {
    /// By stream.
    pub streams: Vec<StreamFacts>,
    /// Distinct values of the lowest 16 bits (of a 16-bit type: distinct values).
    pub distinct: u64,
    /// 32-bit types: the lowest bytes that are not zero against all being equally frequent.
    pub lowest_byte: Option<ChiSquare>,
    /// 32-bit types: elements whose lower half is zero although they are not.
    pub empty_halves: u64,
}

impl LowBitFacts {
    /// From the streams and the counts of a tensor; `zeros`: its elements that are zero.
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

    /// Whether files are to be looked for in all of its streams. A finding asks for more.
    pub fn is_suspicious(&self) -> bool {
        let of_halves = self.streams.iter().filter_map(|stream| stream.asymmetry);
        let uneven = self.lowest_byte.filter(|lowest| lowest.effect > UNEVEN_FROM);
        of_halves
            .filter(|asymmetry| asymmetry.effect > SUSPICIOUS_EFFECT)
            .chain(uneven)
            .any(|chi_square| chi_square.z() > SUSPICIOUS_FROM)
    }

    /// Whether some lower halves are empty and some are not: neither a plain F32 tensor nor one that was
    /// widened from 16 bits.
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
        asymmetry: (index < HALVED).then(|| asymmetry(counts)),
        ones: share(sums[0], 64),
        agreement: [share(sums[1], 63), share(sums[2], 56)],
        odd: odd_blocks(low_bits, index, width),
        bytes: counts.to_vec(),
    }
}

/// Each pair of bytes that are one another with halves exchanged: (a - b)² / (a + b), one degree of
/// freedom a pair (a conditional test: given their sum, the two are a fair coin's).
fn asymmetry(counts: &[u64; 256]) -> ChiSquare {
    let mut sum = ChiSquare::default();
    for (byte, count) in counts.iter().enumerate() {
        let exchanged = (byte & 15) << 4 | byte >> 4;
        let other = counts[exchanged];
        if byte < exchanged && count + other >= LEAST_PAIR {
            let difference = *count as f64 - other as f64;
            sum.value += difference * difference / (count + other) as f64;
            sum.freedom += 1.0;
        }
    }
    sum.effect = sum.value / counts.iter().sum::<u64>().max(1) as f64;
    sum
}

/// Against equal frequencies.
fn evenness(counts: &[u64]) -> ChiSquare {
    let total: u64 = counts.iter().sum();
    let expected = total as f64 / counts.len() as f64;
    if expected < LEAST_PAIR as f64 {
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
    // Only whole blocks are compared: the last one has fewer pairs.
    let whole = low_bits.blocks.len().saturating_sub(1);
    if whole < 3 {
        return None;
    }
    let words = (BLOCK_LEN / width / GROUP_LEN * WIDTHS[stream]) as f64;
    let mut odd: Vec<usize> = Vec::new();
    for (pairs, lag) in [(63.0 * words, 0), (56.0 * words, 1)] {
        let agreement: Vec<f64> = low_bits.blocks[..whole]
            .iter()
            .map(|block| {
                let BitCounts { lag1, lag8, .. } = block[stream];
                f64::from([lag1, lag8][lag]) / pairs
            })
            .collect();
        let median = median(agreement.clone());
        let deviations = agreement.iter().map(|share| libm::fabs(share - median)).collect();
        // No less than a fair coin's: half the square root of the pairs.
        let spread = (1.4826 * self::median(deviations)).max(0.5 / libm::sqrt(pairs));
        let is_odd = |index: &usize| libm::fabs(agreement[*index] - median) > ODD_FROM * spread;
        odd.extend((0..whole).filter(is_odd));
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

    /// Rows of different granularity: what independence of neighbours would be wrong about.
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
