//! The edges of binades: what rounding to nearest does to the lowest mantissa of each binade, and what
//! replaced low bits undo.
//!
//! Rounding to nearest sends an interval of one step to each code. Just above a power of two that
//! interval is half a step on the lower side, of half the length: code 0 of a binade gets 3/4 of what
//! code 1 gets. So R = (n1 - n0) / (n1 + n0) is near 1/7. Low bits that are random make pairs of codes
//! alike, and R zero. So do casts that truncate, and grids of integers: R alone proves nothing.

use serde::{Deserialize, Serialize};
use tensorseal_engine::measure::correlation::ElementFormat;
use tensorseal_engine::measure::histogram::Histogram;

/// Codes beside an edge that tell the density there.
const BESIDE: usize = 8;

/// Relative difference of the densities above and below an edge from which it is no smooth place.
const STEEP: f64 = 0.15;

/// Counts at the lower edges of the normal binades where the density is smooth, signs and binades added
/// up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BinadeEdges {
    /// Values whose mantissa is zero.
    pub zeroth: u64,
    /// Values whose mantissa is one step.
    pub first: u64,
    /// Values whose mantissa is eight steps.
    pub eighth: u64,
    /// Edges that were counted.
    pub edges: u32,
    /// Values with even and with odd mantissas, beyond the first step.
    pub parity: [u64; 2],
    /// Values of all normal binades.
    pub normal: u64,
}

impl BinadeEdges {
    /// Of a type of 16 bits from its counts; `None` for other types.
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
                // Below the edge a step is half as wide; below the first binade it is as wide, and so
                // are subnormal numbers.
                let below = &counts[sign + binade - BESIDE..sign + binade];
                let width = if binade == step { 1.0 } else { 2.0 };
                if is_smooth(&codes[1..=BESIDE], below, width) {
                    edges.zeroth += codes[0];
                    edges.first += codes[1];
                    edges.eighth += codes[BESIDE];
                    edges.edges += 1;
                }
            }
        }
        Some(edges)
    }

    /// R, with the slope of the density taken out: what it would be were the density level at the
    /// edges. NaN without values there.
    ///
    /// With a decline of s a step, n0 is 3/4 · n1 · (1 + s) and R falls by 0.49 · s; s is measured
    /// between the first and the eighth step.
    pub fn ratio(&self) -> f64 {
        let (n0, n1, n8) = (self.zeroth as f64, self.first as f64, self.eighth as f64);
        let slope = (n1 - n8) / (n1 + n8) * 2.0 / SLOPE_STEPS;
        (n1 - n0) / (n1 + n0) + 0.49 * slope
    }

    /// Share of values that lay on the grid of a 16-bit type with three more bits before they were rounded:
    /// ties then go to even codes, which get 9 points of that grid where odd ones get 7, and code 0 gets 7.
    /// Such values have R = 0. Zero up to an imbalance that the slope of the density makes.
    pub fn grid_share(&self) -> f64 {
        const BY_SLOPE: f64 = 0.006;
        const OF_GRID: f64 = 2.0 / 16.0;
        let [even, odd] = self.parity.map(|count| count as f64);
        let imbalance = (even - odd) / (even + odd).max(1.0);
        ((imbalance - BY_SLOPE) / OF_GRID).clamp(0.0, 1.0)
    }

    /// Standard deviation of [`BinadeEdges::ratio`] by counting alone: each value at the edge falls on one of
    /// two codes (binomial variance), and so does each one that tells the slope.
    pub fn deviation(&self) -> f64 {
        let slope = 0.49 * 2.0 / SLOPE_STEPS;
        let of_edge = 1.0 / (self.zeroth + self.first) as f64;
        let of_slope = slope * slope / (self.first + self.eighth) as f64;
        libm::sqrt(of_edge + of_slope)
    }
}

/// Steps between the codes that tell the slope.
const SLOPE_STEPS: f64 = (BESIDE - 1) as f64;

/// Whether the density goes on across an edge, within what counting allows.
fn is_smooth(above: &[u64], below: &[u64], width: f64) -> bool {
    let sum = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
    let (up, down) = (sum(above), sum(below) * width);
    let by_counting = 4.0 * libm::sqrt(up + down * width);
    up > 0.0 && libm::fabs(up - down) <= STEEP * (up + down) / 2.0 + by_counting
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
    fn values_that_came_from_f16_are_told_by_ties() {
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
    fn an_edge_where_the_density_ends_is_left_out() {
        // Uniform up to a power of two: nothing lies above it.
        let words: Vec<u16> = (0..1_000_000)
            .map(|i| half::bf16::from_f64(f64::from(i % 99_991) / 99_991.0 / 256.0).to_bits())
            .collect();
        let found = edges(&words);
        assert!((found.ratio() - 1.0 / 7.0).abs() < 6.0 * found.deviation(), "{}", found.ratio());
    }
}
