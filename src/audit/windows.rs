//! Windows whose magnitudes are unlike those of their tensor.

use crate::measure::windows::{CLASSES, Window, Windows};
use serde::Serialize;

/// Windows kept one by one.
const KEPT: usize = 32;

/// A window and how unusual it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OddWindow {
    /// Its number in the tensor.
    pub index: u64,
    /// Its elements by class.
    pub classes: Window,
    /// G = 2 · sum of n · ln(n / expected) against the classes of the whole tensor.
    pub g: f64,
}

/// The windows of a tensor.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct WindowFacts {
    /// How many there are.
    pub count: u64,
    /// Elements of the whole tensor by class.
    pub classes: [u64; CLASSES],
    /// Quantiles of G over the windows: 1/2, 3/4, 99/100.
    pub quantiles: [f64; 3],
    /// The most unusual ones, by G.
    pub odd: Vec<OddWindow>,
}

impl WindowFacts {
    /// From all windows of a tensor.
    pub fn new(windows: &Windows) -> WindowFacts {
        let mut classes = [0u64; CLASSES];
        for window in &windows.windows {
            for (class, count) in classes.iter_mut().zip(window) {
                *class += u64::from(*count);
            }
        }
        let count = windows.windows.len() as u64;
        if count == 0 {
            return WindowFacts::default();
        }
        let total: u64 = classes.iter().sum();
        let share = classes.map(|class| class as f64 / total as f64);
        let mut odd: Vec<OddWindow> = windows
            .windows
            .iter()
            .zip(0..)
            .map(|(window, index)| OddWindow { index, classes: *window, g: g(window, &share) })
            .collect();
        odd.sort_unstable_by(|a, b| b.g.total_cmp(&a.g).then(a.index.cmp(&b.index)));
        let at = |percent: usize| odd[(odd.len() - 1) * (100 - percent) / 100].g;
        let quantiles = [at(50), at(75), at(99)];
        odd.truncate(KEPT);
        WindowFacts { count, classes, quantiles, odd }
    }
}

fn g(window: &Window, share: &[f64; CLASSES]) -> f64 {
    let total: f64 = window.iter().map(|count| f64::from(*count)).sum();
    let terms = window.iter().zip(share).filter(|(count, _)| **count > 0).map(|(count, share)| {
        let count = f64::from(*count);
        count * libm::log(count / (total * share))
    });
    2.0 * terms.sum::<f64>()
}
