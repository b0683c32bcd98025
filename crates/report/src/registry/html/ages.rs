//! A bar chart of the ages of deep checks.

use super::counted::{AGES, ModelCounts};
use crate::units::grouped;

/// Height of a bar with its gap, left edge of the bars, greatest length of a bar and width of the chart, in SVG units.
pub(super) const ROW: u64 = 22;
pub(super) const LEFT: u64 = 170;
const LONGEST: u64 = 330;
pub(super) const WIDTH: u64 = 580;

/// The chart.
pub(super) struct Ages {
    pub bars: Vec<Bar>,
}

/// The models of one age.
pub(super) struct Bar {
    pub name: &'static str,
    pub number: u64,
    /// Its CSS class.
    pub class: &'static str,
    pub top: u64,
    pub width: u64,
}

impl Ages {
    /// Draws the chart, or returns `None` if there are no models.
    pub(super) fn of(counted: &ModelCounts) -> Option<Self> {
        let ages = AGES.iter().zip(counted.ages).map(|((name, _), number)| (*name, number, "bars"));
        let rows: Vec<_> = ages.chain([("never", counted.never, "far")]).collect();
        let most = rows.iter().map(|row| row.1).max().filter(|most| *most > 0)?;
        let bar = |(row, (name, number, class)): (u64, (&'static str, u64, &'static str))| {
            let share = u128::from(number) * u128::from(LONGEST) / u128::from(most);
            // A bar that is not empty is visible.
            let width = if number == 0 { 0 } else { (share as u64).max(2) };
            Bar { name, number, class, top: row * ROW, width }
        };
        Some(Self { bars: (0..).zip(rows).map(bar).collect() })
    }

    /// Returns the height of the chart.
    pub(super) fn height(&self) -> u64 {
        self.bars.len() as u64 * ROW
    }

    /// Returns the chart in words.
    pub(super) fn caption(&self) -> String {
        let bars = self.bars.iter().map(|bar| format!("{} {}", grouped(bar.number), bar.name));
        bars.collect::<Vec<_>>().join(", ")
    }
}

impl Bar {
    /// Returns the baseline of its texts.
    pub(super) fn baseline(&self) -> u64 {
        self.top + 15
    }

    /// Returns the left edge of its number.
    pub(super) fn end(&self) -> u64 {
        LEFT + self.width + 6
    }
}
