//! Compact encoding of counts in a seal: LEB128 numbers in base64.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// Counts by sign and exponent. Index 2·e is for positive and 2·e + 1 for negative values, where e is the exponent field
/// of floats and the bit length of the magnitude of integers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignExponent {
    /// The counts from index `first` to the last one that is not zero: LEB128 numbers in base64.
    pub counts: String,
    /// The index of the first count that is not zero.
    pub first: u64,
}

impl SignExponent {
    /// Encodes counts by index.
    pub(super) fn from_counts(counts: &[u64]) -> SignExponent {
        let Some(first) = counts.iter().position(|count| *count > 0) else {
            return SignExponent { counts: String::new(), first: 0 };
        };
        let last = counts.iter().rposition(|count| *count > 0).unwrap_or(first);
        SignExponent { counts: leb128(&counts[first..=last]), first: first as u64 }
    }

    /// The number of indices of a type with 11 exponent bits, which is the most of all types.
    const MAX_INDICES: u64 = 4096;

    /// Returns the indices with their counts, ascending and without zeros. Malformed counts are decoded up to the fault.
    pub fn decode(&self) -> Vec<(u64, u64)> {
        let bytes = STANDARD.decode(&self.counts).unwrap_or_default();
        let (mut all, mut index) = (Vec::new(), self.first);
        let (mut count, mut shift) = (0u64, 0);
        for byte in bytes {
            if index >= Self::MAX_INDICES || shift > 63 {
                break;
            }
            count |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                if count > 0 {
                    all.push((index, count));
                }
                (count, shift, index) = (0, 0, index + 1);
            }
        }
        all
    }
}

/// Encodes counts as LEB128 numbers in base64.
pub(super) fn leb128(counts: &[u64]) -> String {
    let mut bytes = Vec::new();
    for count in counts {
        let mut count = *count;
        while count >= 0x80 {
            bytes.push(count as u8 | 0x80);
            count >>= 7;
        }
        bytes.push(count as u8);
    }
    STANDARD.encode(bytes)
}
