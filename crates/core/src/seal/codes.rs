//! Statistics of the quantisation blocks of a tensor.

use super::counts::{SignExponent, leb128};
use serde::{Deserialize, Serialize};
use tensorseal_engine::measure::WordFormat;
use tensorseal_engine::measure::codes::{CodeCounts, SpecialBlockCounts, scale_words};
use tensorseal_engine::measure::histogram::BINS;

/// Exact counts of codes, scales and special quantisation blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeStatistics {
    /// The number of quantisation blocks.
    pub blocks: u64,
    /// The number of quantisation blocks whose codes are all equal.
    pub constant: u64,
    /// The counts of elements by code, from 0 to the last code that occurs: LEB128 numbers in base64.
    pub counts: String,
    /// The number of quantisation blocks with an infinite scale word.
    pub infinite: u64,
    /// The number of quantisation blocks whose scale is zero and whose codes are not.
    pub lost: u64,
    /// The counts of block minima by sign and exponent, for types that have minima.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minima: Option<SignExponent>,
    /// The number of quantisation blocks with a NaN scale word.
    pub nan: u64,
    /// The number of quantisation blocks in which at least half of the codes are at an end of their range.
    pub saturated: u64,
    /// The counts of scale words by sign and exponent: index 2·e is for positive words with the exponent field e, and
    /// 2·e + 1 for negative ones.
    pub scales: SignExponent,
}

impl CodeStatistics {
    /// Creates the statistics from the counts of codes and scales.
    pub fn from_codes(codes: &CodeCounts) -> CodeStatistics {
        let SpecialBlockCounts { blocks, constant, lost, saturated, nan, infinite } =
            codes.special_blocks;
        let words = scale_words(codes.dtype());
        let field_bits = match (words, codes.dtype()) {
            (WordFormat::Bits8, tensorseal_base::dtype::Dtype::MXFP4) => (8, 0),
            (WordFormat::Bits8, _) => (4, 3),
            (_, tensorseal_base::dtype::Dtype::Q8_K) => (8, 7),
            _ => (5, 10),
        };
        let last = codes.elements.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        CodeStatistics {
            blocks,
            constant,
            counts: leb128(&codes.elements[..last]),
            infinite,
            lost,
            minima: (!codes.scales().low().is_empty())
                .then(|| sign_exponent(codes.scales().low(), field_bits)),
            nan,
            saturated,
            scales: sign_exponent(codes.scales().high(), field_bits),
        }
    }
}

/// Counts words by sign and exponent. The last argument has the numbers of exponent and mantissa bits.
fn sign_exponent(words: &[u64], (exponent_bits, mantissa_bits): (u32, u32)) -> SignExponent {
    let mut counts = vec![0; 2 << exponent_bits];
    debug_assert!(words.len() <= BINS);
    for (word, count) in words.iter().enumerate().filter(|(_, count)| **count > 0) {
        let exponent = word >> mantissa_bits & ((1 << exponent_bits) - 1);
        let sign = word >> (mantissa_bits + exponent_bits) & 1;
        counts[2 * exponent + sign] += count;
    }
    SignExponent::from_counts(&counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorseal_base::dtype::Dtype;

    #[test]
    fn scales_are_counted_by_sign_and_exponent() {
        let mut codes = CodeCounts::new(Dtype::Q4_0);
        // 1.0, 1.5 and -2.0, and codes 5, 15 and 0.
        for (scale, byte) in [(0x3C00u16, 0x55), (0x3E00, 0xFF), (0xC000, 0)] {
            let mut block = [byte; 18];
            block[..2].copy_from_slice(&scale.to_le_bytes());
            codes.add(&block);
        }
        let kept = CodeStatistics::from_codes(&codes);
        assert_eq!(kept.scales.decode(), [(30, 2), (33, 1)]);
        assert_eq!((kept.blocks, kept.constant), (3, 3));
        let counts = SignExponent { counts: kept.counts.clone(), first: 0 }.decode();
        assert_eq!(counts, [(0, 32), (5, 32), (15, 32)]);
        assert!(kept.minima.is_none());
        assert!(serde_json::to_string(&kept).unwrap().len() < 2048);
    }
}
