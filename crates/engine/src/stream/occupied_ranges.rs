//! Tracks which positions of a file were processed. Tensors may share bytes, and whole-file digests and
//! checksums must process each byte once.

use std::collections::BTreeMap;

/// The ranges that were occupied; adjacent ranges are joined.
#[derive(Debug, Default)]
pub(super) struct OccupiedRanges(BTreeMap<u64, u64>);

impl OccupiedRanges {
    /// Occupies a range, and returns the parts of it that were free before, in order.
    pub(super) fn occupy(&mut self, [from, to]: [u64; 2]) -> Vec<[u64; 2]> {
        if from >= to {
            return Vec::new();
        }
        // From the last range that begins before this one (and may reach into it) to the last that touches it.
        let before = self.0.range(..=from).next_back().filter(|(_, end)| **end >= from);
        let first = before.map_or(from, |(start, _)| *start);
        let touched: Vec<(u64, u64)> =
            self.0.range(first..=to).map(|(start, end)| (*start, *end)).collect();
        let mut fresh = Vec::new();
        let (mut cursor, mut last) = (from, to);
        for (start, end) in touched {
            if start > cursor {
                fresh.push([cursor, start.min(to)]);
            }
            cursor = cursor.max(end);
            last = last.max(end);
            self.0.remove(&start);
        }
        if cursor < to {
            fresh.push([cursor, to]);
        }
        self.0.insert(first, last);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_position_is_returned_once() {
        let mut occupied = OccupiedRanges::default();
        assert_eq!(occupied.occupy([10, 20]), [[10, 20]]);
        assert_eq!(occupied.occupy([20, 30]), [[20, 30]]);
        assert_eq!(occupied.0.len(), 1, "adjacent ranges are joined");
        assert_eq!(occupied.occupy([12, 28]), [[0u64; 2]; 0]);
        assert_eq!(occupied.occupy([40, 50]), [[40, 50]]);
        assert_eq!(occupied.occupy([5, 60]), [[5, 10], [30, 40], [50, 60]]);
        assert_eq!(occupied.occupy([7, 7]), [[0u64; 2]; 0]);
        assert_eq!(occupied.0.len(), 1);
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_positions(ranges in prop::collection::vec((0u64..64, 0u64..20), 0..30)) {
            let mut occupied = OccupiedRanges::default();
            let mut taken = [false; 100];
            for (from, length) in ranges {
                let fresh = occupied.occupy([from, from + length]);
                let mut now = [false; 100];
                for [a, b] in fresh {
                    prop_assert!(a < b);
                    now[a as usize..b as usize].fill(true);
                }
                for at in 0..100 {
                    let inside = (from..from + length).contains(&(at as u64));
                    prop_assert_eq!(now[at], inside && !taken[at]);
                    taken[at] |= inside;
                }
            }
        }
    }
}
