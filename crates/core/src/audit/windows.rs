//! Windows whose magnitudes are unlike those of their tensor.

use serde::{Deserialize, Serialize};
use tensorseal_engine::measure::windows::{CLASSES, Window, Windows};

/// Windows kept one by one.
const KEPT: usize = 64;

/// A window with values that the rest of its tensor has none of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddWindow {
    /// Its number in the tensor.
    pub index: u64,
    /// Its elements by class.
    pub classes: Window,
    /// How many of them the rest of the tensor has none of.
    pub foreign: u16,
}

/// The windows of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WindowFacts {
    /// How many there are.
    pub count: u64,
    /// Elements of the whole tensor by class.
    pub classes: [u64; CLASSES],
    /// Windows with more than [`FOREIGN_SHARE`] of values that the rest of the tensor has none of.
    pub foreign: u64,
    /// The first ones of those, in order.
    pub kept: Vec<OddWindow>,
    /// One past the last of them.
    pub end: u64,
}

/// Share of a window from which its foreign values are no accident of one row.
pub const FOREIGN_SHARE: f64 = 0.01;

/// Share of the rest of a tensor up to which it has none of such values.
const NONE_SHARE: f64 = 1e-4;

/// Classes that weights hardly have: below 2^-24, from 2^4 on, from 2^16 on or not finite.
const EXTREME: [usize; 3] = [1, CLASSES - 2, CLASSES - 1];

impl WindowFacts {
    /// From all windows of a tensor.
    pub fn new(windows: &Windows) -> WindowFacts {
        let mut facts =
            WindowFacts { count: windows.windows.len() as u64, ..WindowFacts::default() };
        for window in &windows.windows {
            for (class, count) in facts.classes.iter_mut().zip(window) {
                *class += u64::from(*count);
            }
        }
        // A window is foreign by itself; the rest is what is neither.
        let share = |window: &Window, class: usize| {
            let total: f64 = window.iter().map(|count| f64::from(*count)).sum();
            f64::from(window[class]) / total.max(1.0)
        };
        for class in EXTREME {
            let (high, low): (Vec<_>, Vec<_>) = windows
                .windows
                .iter()
                .zip(0u64..)
                .partition(|(window, _)| share(window, class) >= FOREIGN_SHARE);
            let values = |part: &[(&Window, u64)], of: &dyn Fn(&Window) -> u64| -> u64 {
                part.iter().map(|(window, _)| of(window)).sum()
            };
            let all = |window: &Window| window.iter().map(|count| u64::from(*count)).sum();
            let there = values(&low, &|window| window[class].into());
            let rest = values(&low, &all);
            // Most of a tensor cannot be foreign to it.
            if high.len() > low.len() || there as f64 > NONE_SHARE * rest as f64 {
                continue;
            }
            facts.kept.extend(high.iter().map(|(window, index)| OddWindow {
                index: *index,
                classes: **window,
                foreign: window[class],
            }));
        }
        facts.kept.sort_unstable_by_key(|odd| (odd.index, std::cmp::Reverse(odd.foreign)));
        facts.kept.dedup_by_key(|odd| odd.index);
        facts.foreign = facts.kept.len() as u64;
        facts.end = facts.kept.last().map_or(0, |odd| odd.index + 1);
        facts.kept.truncate(KEPT);
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> Window {
        [0, 0, 8, 100, 700, 1800, 1400, 88, 0, 0, 0, 0]
    }

    #[test]
    fn values_that_the_rest_has_none_of_are_foreign() {
        let mut windows = Windows { first: 0, windows: vec![usual(); 40] };
        assert_eq!(WindowFacts::new(&windows).foreign, 0);
        // A row that is larger is not foreign, and one huge value is not either.
        windows.windows[3] = [0, 0, 0, 8, 100, 700, 1800, 1400, 88, 0, 0, 0];
        windows.windows[4] = [0, 0, 8, 100, 700, 1800, 1400, 87, 0, 0, 0, 1];
        assert_eq!(WindowFacts::new(&windows).foreign, 0);
        windows.windows[7] = [900, 1500, 50, 10, 10, 10, 10, 10, 10, 10, 76, 1500];
        windows.windows[9] = [900, 1500, 50, 10, 10, 10, 10, 10, 10, 10, 76, 1500];
        let facts = WindowFacts::new(&windows);
        assert_eq!((facts.foreign, facts.kept[0].index, facts.end), (2, 7, 10));
    }

    #[test]
    fn what_most_of_a_tensor_has_is_its_own() {
        let tiny = [900, 3196, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let windows = Windows { first: 0, windows: vec![tiny, tiny, usual(), tiny] };
        assert_eq!(WindowFacts::new(&windows).foreign, 0);
        assert_eq!(WindowFacts::new(&Windows::default()), WindowFacts::default());
    }
}
