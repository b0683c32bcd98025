//! Counts how many codes a change moves when a tensor is quantised.
//!
//! A quantisation block has 32 elements along a row, the scale absmax / 127 or absmax / 7, and codes rounded to nearest.
//! This is GGUF's Q8_0 with 8 bits, and the symmetric form of its Q4_0. Weights can be trained so that every code stays
//! the same while the model behaves differently in full precision: K. Egashira et al., "Exploiting LLM quantization",
//! *NeurIPS* 2024.

use serde::Serialize;

/// The number of elements in a quantisation block.
pub const BLOCK: usize = 32;

/// The number of bits in each of the two kinds of codes.
pub const BITS: [u32; 2] = [8, 4];

/// The relative difference up to which scales are the same: they are stored in half precision.
const SAME_SCALE: f64 = 1.0 / 2048.0;

/// How a change affects the codes of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct CodeChanges {
    /// The number of codes that changed, up to the block where counting ended.
    pub moved: u64,
    /// The number of quantisation blocks whose scale changed.
    pub scales_moved: u64,
    /// The number of codes that would be expected to change if each change had its own or the opposite sign with equal
    /// probability.
    pub expected: f64,
}

impl CodeChanges {
    /// Adds the counts of other quantisation blocks.
    pub fn merge(&mut self, other: &CodeChanges) {
        self.moved += other.moved;
        self.scales_moved += other.scales_moved;
        self.expected += other.expected;
    }

    /// Adds one quantisation block before and after the change; `bits` is the width of a code.
    fn add(&mut self, before: &[f64], after: &[f64], bits: u32) {
        let largest = f64::from((1u32 << (bits - 1)) - 1);
        let scale = |block: &[f64]| {
            block.iter().fold(0.0f64, |max, value| max.max(libm::fabs(*value))) / largest
        };
        let (scale_before, scale_after) = (scale(before), scale(after));
        if libm::fabs(scale_before - scale_after) > SAME_SCALE * scale_before {
            self.scales_moved += 1;
        }
        if scale_before == 0.0 || scale_after == 0.0 {
            return;
        }
        let (inverse_before, inverse_after) = (1.0 / scale_before, 1.0 / scale_after);
        for (before, after) in before.iter().zip(after) {
            let scaled = before * inverse_before;
            let code = nearest(scaled);
            self.moved += u64::from(nearest(after * inverse_after) != code);
            // A change of this size moves the code if it crosses one of the two bounds of its cell.
            let step = libm::fabs(after - before) * inverse_before;
            let off = libm::fabs(scaled - f64::from(code));
            let bounds = [0.5 - off, 0.5 + off];
            self.expected += 0.5 * bounds.iter().filter(|bound| step > **bound).count() as f64;
        }
    }
}

/// Rounds to the nearest integer, halves away from zero. A cast is much faster than rounding in software.
fn nearest(value: f64) -> i32 {
    let magnitude = (libm::fabs(value) + 0.5) as i32;
    if value < 0.0 { -magnitude } else { magnitude }
}

/// Counts changes in both kinds of codes of consecutive elements, which start at a block boundary. Counting ends as soon
/// as codes of both kinds changed, since the counts show nothing more then.
pub fn measure(before: &[f64], after: &[f64]) -> [CodeChanges; BITS.len()] {
    let mut codes = [CodeChanges::default(); BITS.len()];
    for (before, after) in before.chunks(BLOCK).zip(after.chunks(BLOCK)) {
        if before != after {
            for (codes, bits) in codes.iter_mut().zip(BITS) {
                codes.add(before, after, bits);
            }
            if codes.iter().all(|codes| codes.moved + codes.scales_moved > 0) {
                break;
            }
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(seed: usize) -> Vec<f64> {
        let value = |i: usize| ((i * 37 + seed * 11) % 63) as f64 / 63.0 - 0.49;
        let mut block: Vec<f64> = (0..BLOCK).map(value).collect();
        block[7] = 1.0;
        block
    }

    #[test]
    fn changes_inside_the_cells_move_no_code() {
        let before: Vec<f64> = (0..64).flat_map(block).collect();
        let inside: Vec<f64> = before
            .iter()
            .map(|value| {
                // Near the far bound of the 4-bit cell.
                let code = libm::round(value * 7.0);
                let side = if value * 7.0 < code { 0.4 } else { -0.4 };
                if *value == 1.0 { 1.0 } else { (code + side) / 7.0 }
            })
            .collect();
        let [eight, four] = measure(&before, &inside);
        assert_eq!((four.moved, four.scales_moved), (0, 0));
        assert!(four.expected > 500.0, "{four:?}");
        assert!(eight.moved > 1500 && eight.scales_moved == 0, "{eight:?}");
        let twice: Vec<f64> = before.iter().map(|value| value * 2.0).collect();
        assert_eq!(measure(&before, &twice)[0].scales_moved, 1, "the first block is enough");
    }

    #[test]
    fn centres_of_cells_are_far_from_their_bounds() {
        let round = |value: f64| libm::round(value * 127.0) / 127.0;
        let before: Vec<f64> = (0..64).flat_map(block).map(round).collect();
        let after: Vec<f64> =
            before.iter().map(|v| if *v == 1.0 { 1.0 } else { v + 0.3 / 127.0 }).collect();
        let [eight, _] = measure(&before, &after);
        assert_eq!(eight, CodeChanges::default(), "no code could move either way");
    }

    #[test]
    fn a_scaled_tensor_has_different_scales() {
        let before = block(1);
        let after: Vec<f64> = before.iter().map(|value| 2.0 * value).collect();
        let [eight, four] = measure(&before, &after);
        assert_eq!((eight.moved, eight.scales_moved), (0, 1));
        assert_eq!((four.moved, four.scales_moved), (0, 1));
        let nothing = measure(&[0.0; BLOCK], &before);
        assert_eq!(nothing[0].scales_moved, 1);
        assert_eq!(measure(&before, &before), [CodeChanges::default(); 2]);
    }
}
