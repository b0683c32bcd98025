//! Finds windows whose magnitudes do not occur in the rest of their tensor.

use serde::{Deserialize, Serialize};
use tensorseal_engine::measure::windows::{CLASSES, Window, Windows};

/// The number of windows that are kept one by one.
const MAX_KEPT: usize = 64;

/// A window with values of a class that the rest of its tensor does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddWindow {
    /// The number of the window in the tensor.
    pub index: u64,
    /// The number of elements in each class.
    pub classes: Window,
    /// The number of elements of the class that the rest of the tensor does not have.
    pub foreign: u16,
}

/// Facts about the windows of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WindowFacts {
    /// The number of windows.
    pub count: u64,
    /// The number of elements of the whole tensor in each class.
    pub classes: [u64; CLASSES],
    /// The number of foreign windows: at least [`FOREIGN_SHARE`] of their values are of a class that the rest of the tensor
    /// does not have.
    pub foreign: u64,
    /// The first foreign windows, in order.
    pub kept: Vec<OddWindow>,
    /// The number after that of the last foreign window.
    pub end: u64,
}

/// The share of foreign values from which a window is foreign. A single row cannot reach it by accident.
pub const FOREIGN_SHARE: f64 = 0.01;

/// The share of values up to which the rest of a tensor counts as having none of a class.
const MAX_REST_SHARE: f64 = 1e-4;

/// Classes that weights rarely have: magnitudes below 2^-24, from 2^4 on, and from 2^16 on or not finite.
const EXTREME: [usize; 3] = [1, CLASSES - 2, CLASSES - 1];

impl WindowFacts {
    /// Derives the facts from all windows of a tensor.
    pub fn new(windows: &Windows) -> WindowFacts {
        let mut facts =
            WindowFacts { count: windows.windows.len() as u64, ..WindowFacts::default() };
        for window in &windows.windows {
            for (class, count) in facts.classes.iter_mut().zip(window) {
                *class += u64::from(*count);
            }
        }
        // A window with enough values of the class is a candidate; the others are the rest of the tensor.
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
            let sum_over = |part: &[(&Window, u64)], of: &dyn Fn(&Window) -> u64| -> u64 {
                part.iter().map(|(window, _)| of(window)).sum()
            };
            let element_count =
                |window: &Window| window.iter().map(|count| u64::from(*count)).sum();
            let in_class = sum_over(&low, &|window| window[class].into());
            let rest_total = sum_over(&low, &element_count);
            // Foreign windows are a minority.
            if high.len() > low.len() || in_class as f64 > MAX_REST_SHARE * rest_total as f64 {
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
        facts.kept.truncate(MAX_KEPT);
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
    fn values_that_the_rest_lacks_are_foreign() {
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
    fn values_of_most_windows_are_not_foreign() {
        let tiny = [900, 3196, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let windows = Windows { first: 0, windows: vec![tiny, tiny, usual(), tiny] };
        assert_eq!(WindowFacts::new(&windows).foreign, 0);
        assert_eq!(WindowFacts::new(&Windows::default()), WindowFacts::default());
    }
}
