//! The measurements with keys of other schemes: counts of bits, or sums with bounds on their rounding errors.

use super::scheme::ThirdPartyScheme;

/// Half a unit in the last place of 1: the relative rounding error of an f64 operation.
const UNIT: f64 = f64::EPSILON / 2.0;

/// The maximum number of projections of a part that are kept.
pub(super) const MAX_KEPT: usize = 8;

/// The comparison of bits or signs with those of the key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BitMatches {
    /// The number of compared bits.
    pub trials: u64,
    /// The number of equal bits.
    pub hits: u64,
    /// The number of bits without a certain sign, which count as unequal: they are closer to zero than their rounding
    /// error.
    pub undecided: u64,
    /// The first projections, at most 8, for schemes that have them.
    pub projections: Vec<f64>,
}

/// The inner product of weights with a carrier.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct InnerProduct {
    /// The sum of carrier * weight.
    pub sum: f64,
    /// The sum of |carrier * weight|.
    pub magnitude: f64,
    /// The sum of weight^2.
    pub squares: f64,
    /// The number of finite non-zero weights.
    pub elements: u64,
    /// The relative rounding error of the stored carrier: half a unit in the last place of its type.
    pub carrier_error: f64,
    /// The maximum number of additions that a term went through.
    additions: u64,
}

/// The range of the squared norm in which the quotient is reliable; outside, products underflow or overflow.
const NORM: std::ops::RangeInclusive<f64> = 1e-270..=1e300;

impl BitMatches {
    /// Adds the matches of another part.
    pub fn merge(&mut self, other: &Self) {
        self.trials += other.trials;
        self.hits += other.hits;
        self.undecided += other.undecided;
        let room = MAX_KEPT - self.projections.len().min(MAX_KEPT);
        self.projections.extend(other.projections.iter().take(room));
    }
}

impl InnerProduct {
    /// Computes the inner product of a carrier and as many weights, at most [`PIECE_LEN`].
    ///
    /// [`PIECE_LEN`]: tensorseal_weights::values::PIECE_LEN
    pub fn from_slices(carrier: &[f64], weights: &[f64], carrier_error: f64) -> Self {
        let mut inner = Self { carrier_error, additions: weights.len() as u64, ..Self::default() };
        for (carrier, weight) in carrier.iter().zip(weights) {
            let product = carrier * weight;
            inner.sum += product;
            inner.magnitude += product.abs();
            inner.squares += weight * weight;
            inner.elements += u64::from(*weight != 0.0);
        }
        inner
    }

    /// Adds another part. The order must be fixed, because floating-point sums depend on it.
    pub fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.magnitude += other.magnitude;
        self.squares += other.squares;
        self.elements += other.elements;
        self.carrier_error = self.carrier_error.max(other.carrier_error);
        self.additions = self.additions.max(other.additions) + 1;
    }

    /// Returns the sum divided by `sigma` times the norm of the weights, reduced by the maximum rounding error;
    /// `None` if the norm is zero or out of range.
    ///
    /// The error of a sum of which each term goes through k roundings is at most
    /// k u / (1 - k u) times the sum of the magnitudes, u = 2^-53 (N. J. Higham, *Accuracy and Stability
    /// of Numerical Algorithms*, 2nd edition, section 4.2); here k u < 0.1, and twice k u covers it
    /// together with the rounding of the magnitudes. The norm, its root and the quotients err by less
    /// than 2 (k + 8) u, relatively.
    pub fn z(&self, sigma: f64) -> Option<f64> {
        if !NORM.contains(&self.squares) || !self.sum.is_finite() || !self.magnitude.is_finite() {
            return None;
        }
        let roundings = self.additions as f64 + 8.0;
        let scale = sigma * libm::sqrt(self.squares);
        let (z, magnitude) = (self.sum / scale, self.magnitude / scale);
        let lost = 2.0 * roundings * UNIT * (magnitude + z.abs()) + self.carrier_error * magnitude;
        // Underflowing products are lost as well: less than 2^-1074 each, over a norm of 1e-135.
        Some(z - lost - 1e-100)
    }
}

/// The statistic of one part of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Statistic {
    /// Matches of bits or signs.
    Bits(BitMatches),
    /// An inner product.
    InnerProduct(InnerProduct),
}

/// The measurement with one part of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct PartMeasurement {
    /// The name of the tensor in the model.
    pub tensor: String,
    /// The number of elements that took part: finite non-zero weights, or compared codes.
    pub elements: u64,
    /// The statistic.
    pub statistic: Statistic,
}

/// The measurement of a model with a key.
#[derive(Debug, Clone, PartialEq)]
pub struct ThirdPartyMeasurement {
    /// The scheme of the key.
    pub scheme: ThirdPartyScheme,
    /// The standard deviation of the numbers of a key if they are normal, else 1.
    pub sigma: f64,
    /// The measurements of the parts, in the order of the key.
    pub parts: Vec<PartMeasurement>,
}

/// The projections of a vector on the columns of a matrix, whose rows are added one after another.
pub(super) struct Projections {
    sums: Vec<f64>,
    magnitudes: Vec<f64>,
    /// The number of roundings of an element of the vector, plus the number of rows.
    roundings: u64,
}

impl Projections {
    /// Creates the projections on this number of columns, of a vector whose elements went through `roundings`.
    pub(super) fn new(columns: usize, roundings: u64) -> Self {
        Self { sums: vec![0.0; columns], magnitudes: vec![0.0; columns], roundings }
    }

    /// Adds elements of the matrix that follow one another in a row, from `column` on. `element` is that
    /// of the vector, and `magnitude` the sum of the magnitudes it is made of.
    pub(super) fn add(&mut self, element: f64, magnitude: f64, column: usize, matrix: &[f64]) {
        let sums = self.sums.iter_mut().zip(&mut self.magnitudes).skip(column);
        for ((sum, of_terms), entry) in sums.zip(matrix) {
            *sum += element * entry;
            *of_terms += magnitude * entry.abs();
        }
        // The last column ends a row: one more addition for each sum.
        self.roundings += u64::from(column + matrix.len() == self.sums.len());
    }

    /// Compares the signs of the projections with bits: 1 for a positive projection. The bound on the rounding error is
    /// that of [`InnerProduct::z`]; a projection without a certain sign counts as unequal.
    pub(super) fn compare(&self, bits: &[bool]) -> BitMatches {
        let reach = 2.0 * (self.roundings as f64 + 8.0) * UNIT;
        let mut matches = BitMatches { trials: bits.len() as u64, ..BitMatches::default() };
        for ((sum, magnitude), bit) in self.sums.iter().zip(&self.magnitudes).zip(bits) {
            // Written so that NaN has no sign either.
            if sum.abs() > magnitude * reach {
                matches.hits += u64::from((*sum > 0.0) == *bit);
            } else {
                matches.undecided += 1;
            }
        }
        matches.projections = self.sums.iter().take(MAX_KEPT).copied().collect();
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn z_is_the_cosine_times_the_norm_of_the_carrier() {
        let inner = InnerProduct::from_slices(&[1.0, -1.0, 1.0, 1.0], &[3.0, -4.0, 0.0, 0.0], 0.0);
        assert_eq!((inner.sum, inner.squares, inner.elements), (7.0, 25.0, 2));
        let z = inner.z(1.0).unwrap();
        assert!(z < 7.0 / 5.0 && z > 1.4 - 1e-13);
        assert!((inner.z(2.0).unwrap() - 0.7).abs() < 1e-13);
        // Kept in bfloat16, say: each element may be off by 2^-9.
        let coarse = InnerProduct::from_slices(&[1.0, -1.0], &[3.0, -4.0], 2f64.powi(-9));
        assert!((coarse.z(1.0).unwrap() - 1.4 * (1.0 - 2f64.powi(-9))).abs() < 1e-13);
    }

    #[test]
    fn what_cannot_be_divided_by_gives_no_z() {
        let z = |weight: f64| InnerProduct::from_slices(&[1.0], &[weight], 0.0).z(1.0);
        assert_eq!(InnerProduct::default().z(1.0), None);
        assert_eq!(z(0.0), None);
        assert_eq!(z(1e-200), None);
        assert_eq!(z(1e200), None);
        assert_eq!(InnerProduct::from_slices(&[f64::MAX], &[1e10], 0.0).z(1.0), None);
        assert!(z(1e-100).is_some() && z(1e100).is_some());
    }

    #[test]
    fn a_projection_without_a_sign_is_no_match() {
        let mut projections = Projections::new(3, 1);
        projections.add(1.0, 1.0, 0, &[1.0, -1.0, 1e-3]);
        projections.add(1.0, 1.0, 0, &[1.0, 1.0, 1e-3]);
        let coins = projections.compare(&[true, true, true]);
        assert_eq!((coins.trials, coins.hits, coins.undecided), (3, 2, 1));
        assert_eq!(coins.projections, [2.0, 0.0, 2e-3]);
        let coins = projections.compare(&[false, false, false]);
        assert_eq!((coins.hits, coins.undecided), (0, 1));
        let mut nothing = Projections::new(2, 1);
        nothing.add(f64::NAN, f64::NAN, 0, &[1.0, 1.0]);
        assert_eq!(nothing.compare(&[true, false]).undecided, 2);
    }

    proptest! {
        /// Against integers, which are exact: z is never above, and not far below.
        #[test]
        fn rounding_never_raises_z(
            pairs in prop::collection::vec((-1000i64..1000, -1000i64..1000), 1..400),
            cut in any::<prop::sample::Index>(),
        ) {
            // Tenths are not exact, so that every operation rounds.
            let carrier: Vec<f64> = pairs.iter().map(|(c, _)| *c as f64 / 10.0).collect();
            let weights: Vec<f64> = pairs.iter().map(|(_, w)| *w as f64 / 10.0).collect();
            let cut = cut.index(pairs.len());
            let mut inner = InnerProduct::from_slices(&carrier[..cut], &weights[..cut], 0.0);
            inner.merge(&InnerProduct::from_slices(&carrier[cut..], &weights[cut..], 0.0));
            let sum: i64 = pairs.iter().map(|(c, w)| c * w).sum();
            let squares: i64 = pairs.iter().map(|(_, w)| w * w).sum();
            prop_assume!(squares > 0);
            let exact = sum as f64 / (squares as f64).sqrt() / 10.0;
            let z = inner.z(1.0).unwrap();
            prop_assert!(z <= exact + exact.abs() * 1e-15, "{z} above {exact}");
            prop_assert!(z >= exact - 1e-9, "{z} far below {exact}");
        }

        /// Pieces of the matrix of any length give the projections of the whole.
        #[test]
        fn projections_do_not_depend_on_the_pieces(
            rows in prop::collection::vec(prop::collection::vec(-9i32..9, 5), 1..20),
            piece in 1usize..12,
            bits in prop::collection::vec(any::<bool>(), 5),
        ) {
            let matrix: Vec<f64> = rows.iter().flatten().map(|x| f64::from(*x)).collect();
            let vector: Vec<f64> = (0..rows.len()).map(|row| row as f64 - 3.5).collect();
            let mut projections = Projections::new(5, 0);
            super::super::projections::project(&mut projections, 5, 0, &matrix, |row| {
                (vector[row], vector[row].abs())
            });
            let mut pieces = Projections::new(5, 0);
            for (index, part) in matrix.chunks(piece).enumerate() {
                let first = (index * piece) as u64;
                super::super::projections::project(&mut pieces, 5, first, part, |row| {
                    (vector[row], vector[row].abs())
                });
            }
            prop_assert_eq!(pieces.compare(&bits), projections.compare(&bits));
            for (column, sum) in projections.sums.iter().enumerate() {
                let plain: f64 = (0..rows.len()).map(|row| vector[row] * matrix[row * 5 + column]).sum();
                prop_assert_eq!(*sum, plain);
            }
            prop_assert_eq!(pieces.roundings, rows.len() as u64);
        }
    }
}
