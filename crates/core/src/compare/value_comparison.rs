//! Sums that compare the values of two tensors.
//!
//! Values are converted to f64 and added up in the order of the pieces, so that the sums do not depend on the number of
//! threads. A value that is not finite counts as changed unless the other one is the same, and enters no sum.

/// Sums over the elements of two tensors. Merging adds the sums of consecutive pieces, in order.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ValueComparison {
    /// The number of elements.
    pub elements: u64,
    /// The number of elements whose value changed.
    pub changed: u64,
    /// The number of changed elements of which at least one value is not finite.
    pub non_finite_changes: u64,
    /// The sum of the squares of the first tensor.
    pub before: f64,
    /// The sum of the squares of the second tensor.
    pub after: f64,
    /// The sum of the products of both tensors.
    pub dot: f64,
    /// The sum of the squares of the differences.
    pub squares: f64,
    /// The difference of largest magnitude, second minus first.
    pub largest: f64,
    /// The index of the element with the largest difference.
    pub largest_at: u64,
    /// The largest magnitude of a value in either tensor.
    pub max_magnitude: f64,
}

impl ValueComparison {
    /// Compares consecutive elements, of which the first has the index `first`.
    pub fn from_values(first: u64, before: &[f64], after: &[f64]) -> ValueComparison {
        let mut sums =
            ValueComparison { elements: before.len() as u64, ..ValueComparison::default() };
        // Four partial sums of each kind, so that additions need not wait for one another.
        let mut partial_sums = [[0.0f64; 4]; 4];
        let mut max_magnitude = [0.0f64; 4];
        for (at, (was, is)) in before.iter().zip(after).enumerate() {
            if !(was.is_finite() && is.is_finite()) {
                let alike = was == is || was.is_nan() && is.is_nan();
                sums.changed += u64::from(!alike);
                sums.non_finite_changes += u64::from(!alike);
                continue;
            }
            let difference = is - was;
            let lane = at % 4;
            partial_sums[0][lane] += was * was;
            partial_sums[1][lane] += is * is;
            partial_sums[2][lane] += was * is;
            partial_sums[3][lane] += difference * difference;
            max_magnitude[lane] = max_magnitude[lane].max(libm::fabs(*was)).max(libm::fabs(*is));
            sums.changed += u64::from(difference != 0.0);
            if libm::fabs(difference) > libm::fabs(sums.largest) {
                (sums.largest, sums.largest_at) = (difference, first + at as u64);
            }
        }
        let [before, after, dot, squares] = partial_sums.map(|sums| sums.iter().sum());
        let max_magnitude = max_magnitude.into_iter().fold(0.0, f64::max);
        ValueComparison { before, after, dot, squares, max_magnitude, ..sums }
    }

    /// Adds the sums of the elements that follow.
    pub fn merge(&mut self, next: &ValueComparison) {
        self.elements += next.elements;
        self.changed += next.changed;
        self.non_finite_changes += next.non_finite_changes;
        self.before += next.before;
        self.after += next.after;
        self.dot += next.dot;
        self.squares += next.squares;
        self.max_magnitude = self.max_magnitude.max(next.max_magnitude);
        if libm::fabs(next.largest) > libm::fabs(self.largest) {
            (self.largest, self.largest_at) = (next.largest, next.largest_at);
        }
    }

    /// Returns the Frobenius norm of the difference divided by that of the first tensor; infinite if the first is zero and
    /// the second is not.
    pub fn relative(&self) -> f64 {
        match (self.squares == 0.0, self.before == 0.0) {
            (true, _) => 0.0,
            (_, true) => f64::INFINITY,
            _ => libm::sqrt(self.squares / self.before),
        }
    }

    /// Returns the cosine of the angle between both tensors; NaN if one of them is zero.
    pub fn cosine(&self) -> f64 {
        (self.dot / (libm::sqrt(self.before) * libm::sqrt(self.after))).clamp(-1.0, 1.0)
    }

    /// Returns the share of the elements whose value changed, 0 to 1.
    pub fn changed_share(&self) -> f64 {
        if self.elements == 0 { 0.0 } else { self.changed as f64 / self.elements as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sums_follow_the_definition() {
        let sums = ValueComparison::from_values(
            7,
            &[1.0, 2.0, -2.0, 0.0, 4.0],
            &[1.0, 0.0, 2.0, 0.0, 5.0],
        );
        assert_eq!((sums.elements, sums.changed), (5, 3));
        assert_eq!((sums.before, sums.after, sums.dot, sums.squares), (25.0, 30.0, 17.0, 21.0));
        assert_eq!((sums.largest, sums.largest_at), (4.0, 9));
        assert_eq!(
            (
                sums.max_magnitude,
                ValueComparison::from_values(0, &[-7.0, 1.0], &[2.0, 6.0]).max_magnitude
            ),
            (5.0, 7.0)
        );
        assert!((sums.relative() - 21f64.sqrt() / 5.0).abs() < 1e-15);
        assert!((sums.cosine() - 17.0 / (25f64 * 30.0).sqrt()).abs() < 1e-15);
        assert_eq!(sums.changed_share(), 0.6);
        let none = ValueComparison::from_values(0, &[0.0], &[1.0]);
        assert!(none.relative().is_infinite() && none.cosine().is_nan());
        assert_eq!(ValueComparison::default().relative(), 0.0);
        let lost = ValueComparison::from_values(
            0,
            &[0.0, f64::NAN, f64::INFINITY, 2.0],
            &[f64::NAN, f64::NAN, 1.0, 2.0],
        );
        assert_eq!((lost.elements, lost.changed, lost.before, lost.squares), (4, 2, 4.0, 0.0));
        assert_eq!(lost.non_finite_changes, 2);
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(
            values in prop::collection::vec((-8i32..8, -8i32..8), 0..60),
            cut in any::<prop::sample::Index>(),
        ) {
            // Small integers: every sum is exact, in any order.
            let (before, after): (Vec<f64>, Vec<f64>) =
                values.iter().map(|(a, b)| (f64::from(*a), f64::from(*b))).unzip();
            let cut = cut.index(values.len() + 1);
            let mut whole = ValueComparison::from_values(0, &before[..cut], &after[..cut]);
            whole.merge(&ValueComparison::from_values(cut as u64, &before[cut..], &after[cut..]));
            prop_assert_eq!(whole, ValueComparison::from_values(0, &before, &after));
        }
    }
}
