//! Counts at the edges of binades. Rounding to nearest leaves a pattern there that replaced low bits destroy.
//!
//! Rounding to nearest maps an interval of one step to each code. At a power of two the lower half of that interval is
//! only half as long, because the step below the edge is half as wide: code 0 of a binade gets 3/4 of the values that
//! code 1 gets, and R = (n1 - n0) / (n1 + n0) is near 1/7. Random low bits make the codes of a pair equally frequent, and
//! R is zero. Casts that truncate and grids of integers give zero as well, so R alone proves nothing.

use serde::{Deserialize, Serialize};
use tensorseal_engine::measure::correlation::ElementFormat;
use tensorseal_engine::measure::histogram::Histogram;

/// The number of codes on each side of an edge that the density is estimated from.
const EDGE_CODES: usize = 8;

/// The relative difference between the densities above and below an edge from which the edge is not smooth.
const MAX_DENSITY_DIFFERENCE: f64 = 0.15;

/// Counts at those lower edges of normal binades where the density is smooth, summed over signs and binades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BinadeEdges {
    /// The number of values whose mantissa is zero.
    pub zeroth: u64,
    /// The number of values whose mantissa is one step.
    pub first: u64,
    /// The number of values whose mantissa is eight steps.
    pub eighth: u64,
    /// The number of edges that were counted.
    pub edges: u32,
    /// The numbers of values with even and with odd mantissas above the first step.
    pub parity: [u64; 2],
    /// The number of values in all normal binades.
    pub normal: u64,
}

impl BinadeEdges {
    /// Returns the counts for a 16-bit type, or `None` for other types.
    pub fn from_histogram(elements: &ElementFormat, histogram: &Histogram) -> Option<BinadeEdges> {
        if elements.width != 2 {
            return None;
        }
        let step = 1usize << elements.mantissa_bits;
        let mut edges = BinadeEdges::default();
        let counts = histogram.high();
        for sign in [0, elements.sign() as usize] {
            for binade in (step..elements.limit as usize).step_by(step) {
                let codes = &counts[sign + binade..sign + binade + step];
                edges.normal += codes.iter().sum::<u64>();
                for pair in codes[2..].as_chunks::<2>().0 {
                    edges.parity[0] += pair[0];
                    edges.parity[1] += pair[1];
                }
                // A step below the edge is half as wide, except below the first binade: subnormal numbers
                // have steps of the same width.
                let below = &counts[sign + binade - EDGE_CODES..sign + binade];
                let width = if binade == step { 1.0 } else { 2.0 };
                if is_smooth(&codes[1..=EDGE_CODES], below, width) {
                    edges.zeroth += codes[0];
                    edges.first += codes[1];
                    edges.eighth += codes[EDGE_CODES];
                    edges.edges += 1;
                }
            }
        }
        Some(edges)
    }

    /// Returns R corrected for the slope of the density, that is, for a density that is level at the edges; NaN if no value
    /// lies there.
    ///
    /// If the density declines by s per step, n0 is 3/4 · n1 · (1 + s) and R falls by 0.49 · s. The slope s is measured
    /// between the first and the eighth step.
    pub fn ratio(&self) -> f64 {
        let (n0, n1, n8) = (self.zeroth as f64, self.first as f64, self.eighth as f64);
        let slope = (n1 - n8) / (n1 + n8) * 2.0 / SLOPE_STEPS;
        (n1 - n0) / (n1 + n0) + 0.49 * slope
    }

    /// Estimates the share (0 to 1) of the values that lay on the grid of a 16-bit type with three more bits before they
    /// were rounded. Such values have R = 0.
    ///
    /// Ties go to even codes, which get 9 points of that grid where odd ones get 7, and code 0 gets 7. The result is 0 up to
    /// the imbalance that the slope of the density explains.
    pub fn grid_share(&self) -> f64 {
        const SLOPE_IMBALANCE: f64 = 0.006;
        const GRID_IMBALANCE: f64 = 2.0 / 16.0;
        let [even, odd] = self.parity.map(|count| count as f64);
        let imbalance = (even - odd) / (even + odd).max(1.0);
        ((imbalance - SLOPE_IMBALANCE) / GRID_IMBALANCE).clamp(0.0, 1.0)
    }

    /// Returns the standard deviation of [`BinadeEdges::ratio`] that counting causes: each value at an edge, and each value
    /// that the slope is measured from, falls on one of two codes (binomial variance).
    pub fn deviation(&self) -> f64 {
        let slope = 0.49 * 2.0 / SLOPE_STEPS;
        let edge_variance = 1.0 / (self.zeroth + self.first) as f64;
        let slope_variance = slope * slope / (self.first + self.eighth) as f64;
        libm::sqrt(edge_variance + slope_variance)
    }
}

/// The number of steps between the codes that the slope is measured from.
const SLOPE_STEPS: f64 = (EDGE_CODES - 1) as f64;

/// Returns whether the density is continuous across an edge, within the counting error.
fn is_smooth(above: &[u64], below: &[u64], width: f64) -> bool {
    let sum = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
    let (up, down) = (sum(above), sum(below) * width);
    let counting_error = 4.0 * libm::sqrt(up + down * width);
    up > 0.0 && libm::fabs(up - down) <= MAX_DENSITY_DIFFERENCE * (up + down) / 2.0 + counting_error
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorseal_base::dtype::Dtype;
    use tensorseal_engine::measure::WordFormat;
    use tensorseal_engine::measure::histogram::CounterTable;

    fn normal(seed: u64, len: usize) -> impl Iterator<Item = f64> {
        let mut bytes = vec![0; 16 * len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        let uniform = |bytes: &[u8; 8]| (u64::from_le_bytes(*bytes) as f64 + 1.0) / 1.85e19;
        let pairs: Vec<[f64; 2]> = bytes
            .as_chunks::<16>()
            .0
            .iter()
            .map(|pair| [0, 8].map(|at| uniform(pair[at..].first_chunk().unwrap())))
            .collect();
        // Box and Muller, 1958.
        pairs
            .into_iter()
            .map(|[u, v]| libm::sqrt(-2.0 * libm::log(u)) * libm::cos(std::f64::consts::TAU * v))
    }

    fn edges(words: &[u16]) -> BinadeEdges {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (mut table, mut histogram) = (CounterTable::new(), Histogram::new(WordFormat::Bits16));
        table.count(WordFormat::Bits16, &bytes);
        table.drain_into(WordFormat::Bits16, &mut histogram);
        BinadeEdges::from_histogram(&ElementFormat::from_dtype(Dtype::BF16).unwrap(), &histogram)
            .unwrap()
    }

    #[test]
    fn rounding_leaves_a_seventh_and_random_bits_none() {
        let rounded: Vec<u16> =
            normal(1, 2_000_000).map(|x| half::bf16::from_f64(0.03 * x).to_bits()).collect();
        let found = edges(&rounded);
        let z = |edges: &BinadeEdges, expected: f64| (edges.ratio() - expected) / edges.deviation();
        assert!(z(&found, 1.0 / 7.0).abs() < 4.0, "{found:?} {}", found.ratio());
        let mut random = vec![0; rounded.len()];
        blake3::Hasher::new().update(b"payload").finalize_xof().fill(&mut random);
        let hidden: Vec<u16> =
            rounded.iter().zip(&random).map(|(word, bit)| word & !1 | u16::from(bit & 1)).collect();
        let found = edges(&hidden);
        assert!(z(&found, 0.0).abs() < 4.0, "{found:?} {}", found.ratio());
        assert!(z(&found, 1.0 / 7.0) < -20.0);
        let truncated: Vec<u16> =
            normal(1, 2_000_000).map(|x| ((0.03 * x as f32).to_bits() >> 16) as u16).collect();
        assert!(z(&edges(&truncated), 0.0).abs() < 4.0);
    }

    #[test]
    fn values_that_came_from_f16_are_recognised_by_ties() {
        let of = |share: usize| {
            let words: Vec<u16> = normal(3, 2_000_000)
                .enumerate()
                .map(|(i, x)| {
                    let x = 0.05 * x;
                    let x = if i % 100 < share { half::f16::from_f64(x).to_f64() } else { x };
                    half::bf16::from_f64(x).to_bits()
                })
                .collect();
            edges(&words)
        };
        assert_eq!(of(0).grid_share(), 0.0);
        let half = of(50);
        assert!((half.grid_share() - 0.5).abs() < 0.1, "{half:?}");
        assert!((half.ratio() - 0.5 / 7.0).abs() < 0.02, "{}", half.ratio());
    }

    #[test]
    fn an_edge_where_the_density_ends_is_skipped() {
        // Uniform up to a power of two: nothing lies above it.
        let words: Vec<u16> = (0..1_000_000)
            .map(|i| half::bf16::from_f64(f64::from(i % 99_991) / 99_991.0 / 256.0).to_bits())
            .collect();
        let found = edges(&words);
        assert!((found.ratio() - 1.0 / 7.0).abs() < 6.0 * found.deviation(), "{}", found.ratio());
    }
}
