//! Statistics of the rows and columns of a tensor, and which of them stand out.

use serde::{Deserialize, Serialize};
use tensorseal_engine::measure::magnitudes::STEPS;

/// The number of rows or columns that are kept one by one.
const MAX_KEPT: usize = 16;

/// The standard deviation, in binades, of log2 of the magnitude of a normal variable: π / (2 √2 ln 2).
const LOG_NORMAL_DEVIATION: f64 = 1.602_4;

/// A row or column that stands out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outlier {
    /// The index of the row or column.
    pub index: u64,
    /// How far the mean of log2 of the magnitudes lies above the median of all rows or columns, in binades; negative values
    /// lie below.
    pub binades: f64,
    /// The same distance in robust standard deviations.
    pub z: f64,
}

/// Statistics of all rows, or all columns, of a tensor.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RowColumnStatistics {
    /// The number of rows or columns.
    pub count: u64,
    /// The robust standard deviation of the means in binades: 1.4826 times the median absolute deviation, but at least the
    /// deviation that sampling alone causes.
    pub spread: f64,
    /// The number of rows or columns without a finite non-zero value above the first step.
    pub dead: u64,
    /// The half-open range of indices from the first to the last dead row or column.
    pub dead_rows: Option<[u64; 2]>,
    /// The most extreme rows or columns that are not dead, by descending |z|.
    pub outliers: Vec<Outlier>,
    /// The quantiles 0, 1/4, 1/2, 3/4 and 1 of the means, in binades above the smallest exponent.
    pub quantiles: [f64; 5],
}

impl RowColumnStatistics {
    /// Derives the statistics from the sum of steps of each row or column, each over `elements` elements.
    pub fn new(sums: &[u32], elements: u64) -> RowColumnStatistics {
        let steps_per_binade = (f64::from(STEPS) * elements as f64).max(1.0);
        let mut means: Vec<f64> = sums
            .iter()
            .filter(|sum| **sum > 0)
            .map(|sum| f64::from(*sum) / steps_per_binade)
            .collect();
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
        let sampling_deviation = LOG_NORMAL_DEVIATION / libm::sqrt(elements as f64);
        let spread = (1.4826 * deviations[deviations.len() / 2]).max(sampling_deviation);
        let mut outliers: Vec<Outlier> = sums
            .iter()
            .zip(0..)
            .filter(|(sum, _)| **sum > 0)
            .map(|(sum, index)| {
                let binades = f64::from(*sum) / steps_per_binade - median;
                Outlier { index, binades, z: binades / spread }
            })
            .collect();
        let by_descending_z = |a: &Outlier, b: &Outlier| {
            libm::fabs(b.z).total_cmp(&libm::fabs(a.z)).then(a.index.cmp(&b.index))
        };
        if outliers.len() > MAX_KEPT {
            outliers.select_nth_unstable_by(MAX_KEPT, by_descending_z);
            outliers.truncate(MAX_KEPT);
        }
        outliers.sort_unstable_by(by_descending_z);
        RowColumnStatistics { count, spread, dead, dead_rows, outliers, quantiles }
    }
}
