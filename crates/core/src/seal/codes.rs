//! What a seal keeps of the blocks of a block-quantised tensor.

use super::counts::{SignExponent, leb128};
use serde::{Deserialize, Serialize};
use tensorseal_engine::measure::WordFormat;
use tensorseal_engine::measure::codes::{CodeCounts, SpecialBlockCounts, scale_words};
use tensorseal_engine::measure::histogram::BINS;

/// Counts of codes, scales and special blocks. All of it is exact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeStatistics {
    /// Blocks.
    pub blocks: u64,
    /// Blocks whose codes are all the same.
    pub constant: u64,
    /// Elements by code, from zero to the last that occurs: LEB128 numbers in base64.
    pub counts: String,
    /// Blocks with an infinite scale word.
    pub infinite: u64,
    /// Blocks whose scale is zero and whose codes are not.
    pub lost: u64,
    /// Minima by sign and exponent; types without have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minima: Option<SignExponent>,
    /// Blocks with a scale word that is not a number.
    pub nan: u64,
    /// Blocks of which at least half of the codes are at an end of their range.
    pub saturated: u64,
    /// Scale words by sign and exponent: index 2 e is for positive ones with the exponent field e, 2 e + 1
    /// for negative ones.
    pub scales: SignExponent,
}

impl CodeStatistics {
    /// From the exact counts.
    pub fn from_codes(codes: &CodeCounts) -> CodeStatistics {
        let SpecialBlockCounts { blocks, constant, lost, saturated, nan, infinite } =
            codes.special_blocks;
        let words = scale_words(codes.dtype());
        let shape = match (words, codes.dtype()) {
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
                .then(|| sign_exponent(codes.scales().low(), shape)),
            nan,
            saturated,
            scales: sign_exponent(codes.scales().high(), shape),
        }
    }
}

/// Counts of words by sign and exponent; `shape`: bits of the exponent and of the mantissa.
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
