//! Rows and columns that stand out among their like.

use serde::{Deserialize, Serialize};
use tensorseal_engine::measure::magnitudes::STEPS;

/// Rows or columns kept one by one.
const KEPT: usize = 16;

/// Standard deviation, in binades, of log2 of the magnitude of a normal variable: pi / (2 sqrt 2 ln 2).
const SPREAD_OF_ONE: f64 = 1.602_4;

/// One row or column that stands out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outlier {
    /// Its number.
    pub index: u64,
    /// Binades by which the mean of log2 of its magnitudes lies above the median; negative: below.
    pub binades: f64,
    /// The same in robust standard deviations.
    pub z: f64,
}

/// The rows, or the columns, of a tensor.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RowColumnStatistics {
    /// How many there are.
    pub count: u64,
    /// Robust standard deviation of the means, in binades: 1.4826 times the median of the deviations
    /// from the median, but no less than counting alone gives.
    pub spread: f64,
    /// How many have no finite non-zero value above the first step.
    pub dead: u64,
    /// From the first of those to one past the last.
    pub dead_rows: Option<[u64; 2]>,
    /// The most extreme ones that are not dead, by |z|.
    pub outliers: Vec<Outlier>,
    /// Quantiles of the means in binades: 0, 1/4, 1/2, 3/4, 1, relative to the smallest exponent.
    pub quantiles: [f64; 5],
}

impl RowColumnStatistics {
    /// From sums of steps over `elements` elements each.
    pub fn new(sums: &[u32], elements: u64) -> RowColumnStatistics {
        let per = (f64::from(STEPS) * elements as f64).max(1.0);
        let mut means: Vec<f64> =
            sums.iter().filter(|sum| **sum > 0).map(|sum| f64::from(*sum) / per).collect();
        let dead = (sums.len() - means.len()) as u64;
        let count = sums.len() as u64;
        let mut zeros =
            sums.iter().zip(0u64..).filter(|(sum, _)| **sum == 0).map(|(_, index)| index);
        let dead_rows = zeros.next().map(|first| [first, zeros.last().unwrap_or(first) + 1]);
        if means.is_empty() {
            return RowColumnStatistics {
                count,
                dead,
                dead_rows,
                ..RowColumnStatistics::default()
            };
        }
        means.sort_unstable_by(f64::total_cmp);
        let at = |share: usize| means[(means.len() - 1) * share / 4];
        let quantiles = [at(0), at(1), at(2), at(3), at(4)];
        let median = quantiles[2];
        let mut deviations: Vec<f64> = means.iter().map(|mean| libm::fabs(mean - median)).collect();
        deviations.sort_unstable_by(f64::total_cmp);
        let by_counting = SPREAD_OF_ONE / libm::sqrt(elements as f64);
        let spread = (1.4826 * deviations[deviations.len() / 2]).max(by_counting);
        let mut outliers: Vec<Outlier> = sums
            .iter()
            .zip(0..)
            .filter(|(sum, _)| **sum > 0)
            .map(|(sum, index)| {
                let binades = f64::from(*sum) / per - median;
                Outlier { index, binades, z: binades / spread }
            })
            .collect();
        let by_size = |a: &Outlier, b: &Outlier| {
            libm::fabs(b.z).total_cmp(&libm::fabs(a.z)).then(a.index.cmp(&b.index))
        };
        if outliers.len() > KEPT {
            outliers.select_nth_unstable_by(KEPT, by_size);
            outliers.truncate(KEPT);
        }
        outliers.sort_unstable_by(by_size);
        RowColumnStatistics { count, spread, dead, dead_rows, outliers, quantiles }
    }
}
