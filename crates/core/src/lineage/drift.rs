//! Measures how far the distribution of a tensor's values moved, from the statistics before and after.
//!
//! Counts by sign and exponent are compared, which resolve one binade. Changes within binades show only in the mean and
//! the standard deviation.

use crate::seal::distribution::Distribution;
use serde::Serialize;
use std::collections::BTreeMap;
use tensorseal_base::dtype::Dtype;

/// Distances between two distributions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// The population stability index over the counts by sign and exponent: the sum of (q − p) ln(q / p).
    /// Source: N. Siddiqi, *Credit Risk Scorecards*, 2006, with bands of 0.1 and 0.25.
    pub psi: f64,
    /// The index that two samples of one distribution stay below: the mean plus four standard deviations of its null
    /// distribution, which is that of a chi-square variable times 1/n + 1/m. Source: B. Yurdakul and J. Naranjo,
    /// "Statistical properties of the population stability index", *Journal of Risk Model Validation* 14(4), 2020.
    pub psi_by_chance: f64,
    /// The Kolmogorov-Smirnov distance between the same counts in the order of the values, 0 to 1.
    pub ks: f64,
    /// The 1-Wasserstein distance between the exponents of the finite non-zero values, in binades.
    pub wasserstein_binades: f64,
    /// The mean after minus the mean before, in standard deviations before.
    pub mean_shift: f64,
    /// The standard deviation after divided by that before.
    pub spread_ratio: f64,
}

/// A constant that is added to each count, so that the logarithm of an empty one is defined.
const HALF: f64 = 0.5;

impl Drift {
    /// Measures the drift between two distributions of one type, or returns `None` if one of them has no counts.
    pub fn between(dtype: Dtype, before: &Distribution, after: &Distribution) -> Option<Drift> {
        let sides = [before, after].map(counts_by_value);
        let totals = sides.each_ref().map(|side| side.values().sum::<f64>());
        if totals.iter().any(|total| *total <= 0.0) {
            return None;
        }
        let mut positions: Vec<i64> = sides[0].keys().chain(sides[1].keys()).copied().collect();
        positions.sort_unstable();
        positions.dedup();
        let count = |side: usize, position: &i64| sides[side].get(position).copied().unwrap_or(0.0);
        let bins = positions.len() as f64;
        let (mut psi, mut ks, mut cumulative) = (0.0, 0.0f64, [0.0; 2]);
        for position in &positions {
            let [p, q] = [0, 1].map(|s| (count(s, position) + HALF) / (totals[s] + HALF * bins));
            psi += (q - p) * libm::log(q / p);
            for (side, cumulative) in cumulative.iter_mut().enumerate() {
                *cumulative += count(side, position);
            }
            ks = ks.max(libm::fabs(cumulative[0] / totals[0] - cumulative[1] / totals[1]));
        }
        let freedom = bins - 1.0;
        let scale = 1.0 / totals[0] + 1.0 / totals[1];
        let spread = before.standard_deviation.0;
        Some(Drift {
            psi,
            psi_by_chance: scale * (freedom + 4.0 * libm::sqrt(2.0 * freedom)),
            ks,
            wasserstein_binades: wasserstein(&before.exponents(dtype), &after.exponents(dtype)),
            mean_shift: (after.mean.0 - before.mean.0) / spread,
            spread_ratio: after.standard_deviation.0 / spread,
        })
    }
}

/// Returns the counts by sign and exponent, from the most negative to the most positive value.
fn counts_by_value(distribution: &Distribution) -> BTreeMap<i64, f64> {
    let counts = distribution.sign_exponent.decode();
    let position = |index: u64| {
        let field = (index / 2).min(1 << 32) as i64;
        if index % 2 == 1 { -1 - field } else { field }
    };
    counts.into_iter().map(|(index, count)| (position(index), count as f64)).collect()
}

/// Returns the area between two cumulative distributions over exponents; 0 if one of them has no values.
fn wasserstein(before: &[(i32, u64)], after: &[(i32, u64)]) -> f64 {
    let sides = [before, after];
    let totals = sides.map(|side| side.iter().map(|(_, count)| *count as f64).sum::<f64>());
    if totals.contains(&0.0) {
        return 0.0;
    }
    let mut steps: BTreeMap<i32, f64> = BTreeMap::new();
    for (side, total, sign) in [(before, totals[0], 1.0), (after, totals[1], -1.0)] {
        for (exponent, count) in side {
            *steps.entry(*exponent).or_default() += sign * *count as f64 / total;
        }
    }
    let (mut area, mut height, mut last) = (0.0, 0.0, None);
    for (exponent, step) in steps {
        if let Some(last) = last {
            area += libm::fabs(height) * f64::from(exponent - last);
        }
        height += step;
        last = Some(exponent);
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::distribution::distribution;
    use tensorseal_engine::measure::WordFormat;
    use tensorseal_engine::measure::histogram::{CounterTable, Histogram};

    fn of(values: impl Iterator<Item = f32>) -> Distribution {
        let bytes: Vec<u8> = values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect();
        let words = WordFormat::from_dtype(Dtype::BF16);
        let (mut table, mut histogram) = (CounterTable::new(), Histogram::new(words));
        table.count(words, &bytes);
        table.drain_into(words, &mut histogram);
        distribution(Dtype::BF16, &histogram, None)
    }

    /// Evenly spread over the magnitudes of eight binades, half of them negative.
    fn sample(scale: f32) -> Distribution {
        of((0..4096).map(move |i| {
            let magnitude = scale * (i as f32 / 512.0).exp2();
            if i % 2 == 0 { magnitude } else { -magnitude }
        }))
    }

    #[test]
    fn equal_distributions_have_no_distance() {
        let drift = Drift::between(Dtype::BF16, &sample(1.0), &sample(1.0)).unwrap();
        assert_eq!((drift.psi, drift.ks, drift.wasserstein_binades), (0.0, 0.0, 0.0));
        assert_eq!((drift.mean_shift, drift.spread_ratio), (0.0, 1.0));
    }

    #[test]
    fn a_scale_moves_everything_by_its_binades() {
        let drift = Drift::between(Dtype::BF16, &sample(1.0), &sample(4.0)).unwrap();
        assert!((drift.wasserstein_binades - 2.0).abs() < 1e-12, "{drift:?}");
        assert!((drift.spread_ratio - 4.0).abs() < 1e-12, "{drift:?}");
        // Two of eight binades are empty on each side, and those of one sign are half of them.
        assert!((drift.ks - 0.125).abs() < 1e-12, "{drift:?}");
        assert!(drift.psi > 0.25 && drift.psi > drift.psi_by_chance, "{drift:?}");
    }

    #[test]
    fn a_changed_sign_is_a_distance_without_binades() {
        let plus = of((0..512).map(|_| 1.0));
        let minus = of((0..512).map(|_| -1.0));
        let drift = Drift::between(Dtype::BF16, &plus, &minus).unwrap();
        assert_eq!((drift.ks, drift.wasserstein_binades), (1.0, 0.0));
        assert_eq!(Drift::between(Dtype::BF16, &plus, &of(std::iter::empty())), None);
    }
}
