//! What is measured of a model with a key: counts of bits, or sums, with what rounding can have added.

use super::scheme::ThirdPartyScheme;

/// Half a unit in the last place of 1: what one operation on f64 rounds by, relatively.
const UNIT: f64 = f64::EPSILON / 2.0;

/// How many projections of a part are kept as they are.
pub(super) const KEPT: usize = 8;

/// Bits or signs that were compared with those of the key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BitMatches {
    /// Compared.
    pub trials: u64,
    /// Equal.
    pub hits: u64,
    /// Not equal because they have no sign: nearer to zero than their rounding errors reach.
    pub undecided: u64,
    /// The first projections, for schemes that have them: at most 8.
    pub projections: Vec<f64>,
}

/// The inner product of weights with a carrier.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct InnerProduct {
    /// Sum of carrier * weight.
    pub sum: f64,
    /// Sum of |carrier * weight|.
    pub magnitude: f64,
    /// Sum of weight^2.
    pub squares: f64,
    /// Weights that are finite and not zero.
    pub elements: u64,
    /// How far the elements of the carrier are from what was drawn, relatively: half a unit in the last
    /// place of the type they are kept in.
    pub carrier_error: f64,
    /// Most additions that a term went through.
    additions: u64,
}

/// The square of the norm beyond which a quotient by it is not trusted: products underflow or overflow.
const NORM: std::ops::RangeInclusive<f64> = 1e-270..=1e300;

impl BitMatches {
    /// Adds another part.
    pub fn merge(&mut self, other: &Self) {
        self.trials += other.trials;
        self.hits += other.hits;
        self.undecided += other.undecided;
        let room = KEPT - self.projections.len().min(KEPT);
        self.projections.extend(other.projections.iter().take(room));
    }
}

impl InnerProduct {
    /// Of as many elements of a carrier and weights, at most [`PIECE_LEN`] of them.
    ///
    /// [`PIECE_LEN`]: tensorseal_weights::values::PIECE_LEN
    pub fn from_slices(carrier: &[f64], weights: &[f64], drawn_to: f64) -> Self {
        let mut inner =
            Self { carrier_error: drawn_to, additions: weights.len() as u64, ..Self::default() };
        for (carrier, weight) in carrier.iter().zip(weights) {
            let product = carrier * weight;
            inner.sum += product;
            inner.magnitude += product.abs();
            inner.squares += weight * weight;
            inner.elements += u64::from(*weight != 0.0);
        }
        inner
    }

    /// Adds another part. In a fixed order: floating-point sums depend on it.
    pub fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.magnitude += other.magnitude;
        self.squares += other.squares;
        self.elements += other.elements;
        self.carrier_error = self.carrier_error.max(other.carrier_error);
        self.additions = self.additions.max(other.additions) + 1;
    }

    /// The sum over `sigma` times the norm of the weights, less what rounding can have added to it;
    /// `None` when the norm is zero or beyond what can be divided by.
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
        // Products that underflow are lost, too: less than 2^-1074 each, over a norm of 1e-135.
        Some(z - lost - 1e-100)
    }
}

/// What one part of a key was compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Statistic {
    /// Bits or signs.
    Bits(BitMatches),
    /// A sum.
    InnerProduct(InnerProduct),
}

/// What was measured with one part of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct PartMeasurement {
    /// The tensor, by its name in the model.
    pub tensor: String,
    /// Elements of it that took part: finite non-zero weights, or codes that were looked at.
    pub elements: u64,
    /// What was found.
    pub statistic: Statistic,
}

/// What was measured of a model with a key.
#[derive(Debug, Clone, PartialEq)]
pub struct ThirdPartyMeasurement {
    /// The scheme of the key.
    pub scheme: ThirdPartyScheme,
    /// Standard deviation of the numbers of a key of normal ones; 1 for every other.
    pub sigma: f64,
    /// By part, in the order of the key.
    pub parts: Vec<PartMeasurement>,
}

/// Projections of a vector on the columns of a matrix whose rows come one after another.
pub(super) struct Projections {
    sums: Vec<f64>,
    magnitudes: Vec<f64>,
    /// Roundings that an element of the vector comes with, and rows.
    roundings: u64,
}

impl Projections {
    /// On this number of columns, of a vector each of whose elements went through `roundings`.
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

    /// Compares signs with bits: 1 for positive ones. The bound on the error of a projection is that of
    /// [`InnerProduct::z`]; one whose sign it does not leave certain is a bit that is not equal.
    pub(super) fn compare(&self, bits: &[bool]) -> BitMatches {
        let reach = 2.0 * (self.roundings as f64 + 8.0) * UNIT;
        let mut coins = BitMatches { trials: bits.len() as u64, ..BitMatches::default() };
        for ((sum, magnitude), bit) in self.sums.iter().zip(&self.magnitudes).zip(bits) {
            // So that what is no number has no sign either.
            if sum.abs() > magnitude * reach {
                coins.hits += u64::from((*sum > 0.0) == *bit);
            } else {
                coins.undecided += 1;
            }
        }
        coins.projections = self.sums.iter().take(KEPT).copied().collect();
        coins
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
