//! What the streams of low bits look like: are neighbours independent of one another?
//!
//! Weights that lie side by side know nothing of each other's low bits, so a byte of a stream is as
//! probable as the product of its parts' own probabilities. Bytes of programs, archives and texts are
//! not. What is uniformly random looks like weights here.

use crate::measure::BLOCK_LEN;
use crate::measure::correlation::Elements;
use crate::measure::histogram::{BINS, Histogram};
use crate::measure::low_bits::{Bits, COUNTED, GROUP_LEN, LowBits, WIDTHS};
use serde::Serialize;

/// Degrees of freedom of the bytes of a stream.
pub const BYTE_FREEDOM: f64 = 255.0;

/// Blocks kept one by one, for each stream.
const KEPT: usize = 64;

/// A block of 1 MiB whose bits agree with their neighbours more or less than elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OddBlock {
    /// Its number in the tensor.
    pub index: u64,
    /// Share of bits that equal the next one, and the eighth next one.
    pub agreement: [f64; 2],
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamFacts {
    /// Bits it takes of an element.
    pub bits: usize,
    /// Bits it has.
    pub total: u64,
    /// Pearson's chi-square of its bytes against independence of neighbouring elements, with 255 degrees
    /// of freedom; NaN when bytes are not counted.
    pub chi_square: f64,
    /// Chi-square by byte (Cohen's w²): the size of the effect, whatever the length.
    pub effect: f64,
    /// Share of ones.
    pub ones: f64,
    /// Share of bits that equal the next one, and the eighth next one, within words.
    pub agreement: [f64; 2],
    /// What independence of neighbouring elements would give.
    pub expected: [f64; 2],
    /// Blocks whose agreement lies farthest from the median block's, farthest first.
    pub odd: Vec<OddBlock>,
    /// Counts of the bytes; emptied where they are not drawn.
    pub bytes: Vec<u64>,
}

/// The streams of a tensor, and how its low bits are spread.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct LowBitFacts {
    /// By stream.
    pub streams: Vec<StreamFacts>,
    /// Distinct values of the lowest 16 bits (of a 16-bit type: distinct values).
    pub distinct: u64,
    /// 32-bit types: elements whose lower half is zero although they are not.
    pub empty_halves: u64,
}

impl LowBitFacts {
    /// From the streams and the counts of a tensor; `zeros`: its elements that are zero.
    pub fn new(elements: &Elements, low_bits: &LowBits, histogram: &Histogram, zeros: u64) -> Self {
        let low = if elements.width == 4 { histogram.low() } else { histogram.high() };
        let mut marginal = [0u64; 256];
        let mut distinct = 0;
        for (code, count) in low.iter().enumerate().take(BINS) {
            marginal[code & 0xFF] += count;
            distinct += u64::from(*count > 0);
        }
        let empty_halves = match elements.width {
            4 => histogram.low()[0].saturating_sub(zeros),
            _ => 0,
        };
        let streams = (0..WIDTHS.len())
            .map(|index| stream(index, elements.width, low_bits, &marginal))
            .collect();
        LowBitFacts { streams, distinct, empty_halves }
    }
}

fn stream(index: usize, width: usize, low_bits: &LowBits, marginal: &[u64; 256]) -> StreamFacts {
    let bits = WIDTHS[index];
    let sums = low_bits.blocks.iter().fold([0u64; 3], |sums, block| {
        let part = block[index];
        [
            sums[0] + u64::from(part.ones),
            sums[1] + u64::from(part.lag1),
            sums[2] + u64::from(part.lag8),
        ]
    });
    let symbols = probabilities(marginal, bits);
    let (chi_square, total_bytes, bytes) = match low_bits.bytes.get(index) {
        Some(counts) if index < COUNTED => {
            let total: u64 = counts.iter().sum();
            (chi_square(counts, &byte_probabilities(&symbols, bits)), total, counts.to_vec())
        }
        _ => (f64::NAN, 0, marginal.to_vec()),
    };
    // Every stream of k bits has k words for each group; the words of stream 1 tell the groups.
    let groups: u64 = low_bits.bytes[0].iter().sum::<u64>() / 8;
    let words = groups * bits as u64;
    let share = |count: u64, each: u64| count as f64 / (words * each) as f64;
    let agreement = [share(sums[1], 63), share(sums[2], 56)];
    StreamFacts {
        bits,
        total: 64 * words,
        chi_square,
        effect: chi_square / total_bytes as f64,
        ones: share(sums[0], 64),
        agreement,
        expected: expected_agreement(&symbols, bits),
        odd: odd_blocks(low_bits, index, width),
        bytes,
    }
}

/// Probabilities of the lowest `bits` bits of an element.
fn probabilities(marginal: &[u64; 256], bits: usize) -> Vec<f64> {
    let mut counts = vec![0u64; 1 << bits];
    for (byte, count) in marginal.iter().enumerate() {
        counts[byte & ((1 << bits) - 1)] += count;
    }
    let total: u64 = counts.iter().sum();
    counts.iter().map(|count| *count as f64 / total as f64).collect()
}

/// Probabilities of the bytes of a stream whose elements are independent.
fn byte_probabilities(symbols: &[f64], bits: usize) -> Vec<f64> {
    let marginal = |from: usize, len: usize, value: usize| -> f64 {
        let fits = |symbol: &usize| symbol >> from & ((1 << len) - 1) == value;
        (0..symbols.len()).filter(fits).map(|symbol| symbols[symbol]).sum()
    };
    // A byte begins at one of these bits of an element, equally often.
    let starts: Vec<usize> = if 8 % bits == 0 { vec![0] } else { (0..bits).collect() };
    let mut bytes = vec![0.0; 256];
    for start in &starts {
        // The parts of elements that a byte is made of: first bit in the element, bits.
        let mut parts = Vec::new();
        let (mut from, mut left) = (*start, 8);
        while left > 0 {
            let len = (bits - from).min(left);
            let table: Vec<f64> = (0..1 << len).map(|value| marginal(from, len, value)).collect();
            parts.push((len, table));
            left -= len;
            from = 0;
        }
        for (byte, probability) in bytes.iter_mut().enumerate() {
            let mut rest = byte;
            let mut product = 1.0;
            for (len, table) in &parts {
                product *= table[rest & ((1 << len) - 1)];
                rest >>= len;
            }
            *probability += product / starts.len() as f64;
        }
    }
    bytes
}

fn chi_square(counts: &[u64; 256], probabilities: &[f64]) -> f64 {
    let total: u64 = counts.iter().sum();
    let terms = counts.iter().zip(probabilities).map(|(count, probability)| {
        let expected = total as f64 * probability;
        let difference = *count as f64 - expected;
        if expected > 0.0 { difference * difference / expected } else { 0.0 }
    });
    terms.sum()
}

/// Agreement at lags 1 and 8 within words of 64 bits, were elements independent.
fn expected_agreement(symbols: &[f64], bits: usize) -> [f64; 2] {
    let one = |bit: usize| -> f64 {
        let has = |symbol: &usize| symbol >> bit & 1 == 1;
        (0..symbols.len()).filter(has).map(|symbol| symbols[symbol]).sum()
    };
    let ones: Vec<f64> = (0..bits).map(one).collect();
    let within = |a: usize, b: usize| -> f64 {
        let same = |symbol: &usize| (symbol >> a ^ symbol >> b) & 1 == 0;
        (0..symbols.len()).filter(same).map(|symbol| symbols[symbol]).sum()
    };
    [1, 8].map(|lag| {
        // Bits of `bits` words in turn: each place of an element begins as many pairs.
        let (mut sum, mut pairs) = (0.0, 0.0);
        for place in 0..64 * bits {
            if place % 64 + lag > 63 {
                continue;
            }
            let (a, b) = (place % bits, (place + lag) % bits);
            let apart = (place + lag) / bits > place / bits;
            sum += match apart {
                true => ones[a] * ones[b] + (1.0 - ones[a]) * (1.0 - ones[b]),
                false => within(a, b),
            };
            pairs += 1.0;
        }
        sum / pairs
    })
}

fn odd_blocks(low_bits: &LowBits, stream: usize, width: usize) -> Vec<OddBlock> {
    // Only whole blocks are compared: the last one has fewer pairs.
    let whole = low_bits.blocks.len().saturating_sub(1);
    if whole < 2 {
        return Vec::new();
    }
    let words = (BLOCK_LEN / width / GROUP_LEN * WIDTHS[stream]) as f64;
    let mut odd: Vec<OddBlock> = low_bits.blocks[..whole]
        .iter()
        .zip(0..)
        .map(|(block, index)| {
            let Bits { lag1, lag8, .. } = block[stream];
            let agreement = [f64::from(lag1) / (63.0 * words), f64::from(lag8) / (56.0 * words)];
            OddBlock { index, agreement }
        })
        .collect();
    let median = |lag: usize| {
        let mut all: Vec<f64> = odd.iter().map(|block| block.agreement[lag]).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let medians = [median(0), median(1)];
    let far = |block: &OddBlock| {
        let [a, b] = [0, 1].map(|lag| libm::fabs(block.agreement[lag] - medians[lag]));
        a.max(b)
    };
    odd.sort_by(|a, b| far(b).total_cmp(&far(a)).then(a.index.cmp(&b.index)));
    odd.truncate(KEPT);
    odd
}
