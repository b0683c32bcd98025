//! Estimates the rank of a difference from its products with a few random vectors, without storing the difference.
//!
//! For a difference D (rows by columns) the product Y = D Ω is kept, where Ω has 16 columns of fixed public signs. If D
//! has a rank of r < 16, so has Y, and the energy outside of the first r directions shows in the eigenvalues of Y'Y as it
//! would in those of D'D. Source: N. Halko, P. G. Martinsson and
//! J. A. Tropp, "Finding structure with randomness", *SIAM Review* 53(2), 2011, sections 4.1 and 4.3.
//!
//! For matrices of more than `FOLDED_ROWS` rows several rows are added up in one row of Y, with random signs. This keeps
//! the memory constant and preserves the geometry of so few columns. Source: K. L. Clarkson and
//! D. P. Woodruff, "Low rank approximation and regression in input sparsity time", *STOC* 2013.

use super::eigenvalues::{Matrix, SIZE, eigenvalues};

/// The maximum number of rows of Y, which take 32 MiB.
const FOLDED_ROWS: u64 = 1 << 18;

/// The seed of the public signs.
const SEED: u64 = 0x7465_6E73_6F72_5345;

/// A row of Y.
pub type RowProducts = [f64; SIZE];

/// Returns 64 pseudorandom bits for a row or column. Source: G. L. Steele, D. Lea and C. H. Flood,
/// "Fast splittable pseudorandom number generators", *OOPSLA* 2014 (the finaliser of SplitMix64).
fn bits(index: u64) -> u64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(SEED);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// The sign bits of four products, by four pseudorandom bits.
static SIGNS: [[u64; 4]; 16] = {
    let mut signs = [[0; 4]; 16];
    let mut nibble = 0;
    while nibble < 16 {
        let mut k = 0;
        while k < 4 {
            signs[nibble][k] = (nibble as u64 >> k & 1) << 63;
            k += 1;
        }
        nibble += 1;
    }
    signs
};

/// Adds the contribution of `value` in this column to the products of its row.
#[inline]
pub fn add(products: &mut RowProducts, column: u64, value: f64) {
    let (mut bits, value) = (bits(column), value.to_bits());
    for four in products.as_chunks_mut::<4>().0 {
        let signs = &SIGNS[(bits & 15) as usize];
        for (product, sign) in four.iter_mut().zip(signs) {
            *product += f64::from_bits(value ^ sign);
        }
        bits >>= 4;
    }
}

/// The product Y of one difference.
#[derive(Debug, Clone)]
pub struct RangeSketch {
    rows: u64,
    products: Vec<RowProducts>,
}

impl RangeSketch {
    /// Creates the product of a zero matrix with `rows` rows.
    pub fn new(rows: u64) -> RangeSketch {
        RangeSketch { rows, products: vec![[0.0; SIZE]; rows.min(FOLDED_ROWS) as usize] }
    }

    /// Adds the products of a row.
    pub fn add_row(&mut self, row: u64, products: &RowProducts) {
        let fold = self.rows > FOLDED_ROWS;
        let place = if fold { bits(!row) % FOLDED_ROWS } else { row };
        let sign = if fold && bits(!row) >> 63 == 1 { -1.0 } else { 1.0 };
        if let Some(kept) = self.products.get_mut(place as usize) {
            kept.iter_mut().zip(products).for_each(|(kept, more)| *kept += sign * more);
        }
    }

    /// Returns the eigenvalues of Y'Y, largest first.
    ///
    /// Their sum is about 16 times the sum of the squares of D, and a direction of D with the singular value s contributes
    /// about 16 s². Energy that is spread over all directions is spread evenly over all sixteen eigenvalues.
    pub fn energies(&self) -> [f64; SIZE] {
        let mut gram: Matrix = [[0.0; SIZE]; SIZE];
        for products in &self.products {
            for (row, x) in gram.iter_mut().zip(products) {
                row.iter_mut().zip(products).for_each(|(entry, y)| *entry += x * y);
            }
        }
        eigenvalues(&gram).map(|energy| if energy < 0.0 { 0.0 } else { energy })
    }
}

/// The largest rank that is recognised.
pub const MAX_RANK: usize = 8;

/// A few directions that hold almost all of a difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowRank {
    /// The number of directions.
    pub rank: usize,
    /// The share of the norm of the difference that they hold, 0 to 1: the root of their share of the energy.
    pub share: f64,
    /// The energy of the last direction divided by that of the next one.
    pub drop: f64,
}

/// The energy of a direction, relative to the first, up to which it is negligible: singular values of 1e-3.
const NEGLIGIBLE_ENERGY: f64 = 1e-6;

/// The energy that rounding may leave in one direction, relative to the expected energy. The margin is for rows and
/// columns that are rounded more coarsely than most.
const ROUNDING_MARGIN: f64 = 4.0;

/// The smallest ratio of the energy of the last direction to that of the next one.
const MIN_DROP: f64 = 8.0;

/// The smallest share of the energy that the directions must hold together.
const MIN_SHARE: f64 = 0.5;

/// Returns the low rank of a difference if a few directions hold all of it, except for what rounding to the type
/// explains. `rounding` is the expected energy of rounding over all elements.
pub fn low_rank(energies: &[f64; SIZE], rounding: f64) -> Option<LowRank> {
    let total: f64 = energies.iter().sum();
    if !(total.is_finite() && total > 0.0 && rounding.is_finite()) {
        return None;
    }
    let floor = (NEGLIGIBLE_ENERGY * energies[0]).max(ROUNDING_MARGIN * rounding);
    let rank = energies.iter().take_while(|energy| **energy > floor).count();
    if rank == 0 || rank > MAX_RANK {
        return None;
    }
    let rest = &energies[MAX_RANK..];
    let spread = rest.iter().sum::<f64>() / rest.len() as f64;
    let low_rank_energy: f64 =
        energies[..rank].iter().map(|energy| (energy - spread).max(0.0)).sum();
    let share = low_rank_energy / total;
    let drop = energies[rank - 1] / energies[rank].max(f64::EPSILON * energies[0]);
    (share >= MIN_SHARE && drop >= MIN_DROP).then_some(LowRank {
        rank,
        share: libm::sqrt(share),
        drop,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from -1 to 1.
    fn random(seed: &mut u64) -> f64 {
        *seed = seed.wrapping_add(1);
        bits(*seed ^ 0xABCD_EF01_2345) as i64 as f64 / i64::MAX as f64
    }

    /// Sum of `rank` outer products, and noise.
    fn energies(rows: u64, columns: u64, rank: usize, noise: f64) -> ([f64; SIZE], f64) {
        let mut seed = 1;
        let mut factor = |len: u64| -> Vec<Vec<f64>> {
            (0..rank).map(|_| (0..len).map(|_| random(&mut seed)).collect()).collect()
        };
        let (left, right) = (factor(rows), factor(columns));
        let (mut sketch, mut square) = (RangeSketch::new(rows), 0.0);
        for row in 0..rows {
            let mut products = [0.0; SIZE];
            for column in 0..columns {
                let (i, j) = (row as usize, column as usize);
                let signal: f64 = (0..rank).map(|r| left[r][i] * right[r][j]).sum();
                let value = signal + noise * random(&mut seed);
                square += value * value;
                add(&mut products, column, value);
            }
            sketch.add_row(row, &products);
        }
        (sketch.energies(), square)
    }

    #[test]
    fn ranks_are_found_up_to_eight() {
        for rank in 1..=MAX_RANK {
            let (energies, square) = energies(200, 120, rank, 1e-6);
            let found = low_rank(&energies, 0.0).unwrap();
            assert_eq!(found.rank, rank, "{energies:?}");
            assert!(found.share > 0.999 && found.drop > 100.0, "{found:?}");
            let total: f64 = energies.iter().sum();
            assert!((total / (16.0 * square) - 1.0).abs() < 0.5, "{total} {square}");
        }
        assert_eq!(low_rank(&energies(200, 120, 9, 1e-6).0, 0.0), None);
        assert_eq!(low_rank(&energies(200, 120, 0, 1.0).0, 0.0), None);
        assert_eq!(low_rank(&[0.0; SIZE], 0.0), None);
        assert_eq!(low_rank(&[f64::NAN; SIZE], 0.0), None);
    }

    #[test]
    fn a_noise_floor_counts_as_rounding_only_up_to_its_expected_size() {
        let (energies, _) = energies(400, 300, 2, 0.2);
        // Noise between -0.2 and 0.2 has a variance of 0.04 / 3.
        let expected = 400.0 * 300.0 * 0.04 / 3.0;
        assert_eq!(low_rank(&energies, expected).map(|found| found.rank), Some(2));
        assert_eq!(
            low_rank(&energies, expected / 100.0),
            None,
            "with an additional change of full rank"
        );
        assert_eq!(low_rank(&energies, expected * 1e6), None, "only rounding");
    }

    #[test]
    fn folded_rows_keep_the_rank() {
        let rows = 3 * FOLDED_ROWS;
        let mut sketch = RangeSketch::new(rows);
        for row in 0..rows {
            let mut products = [0.0; SIZE];
            for column in 0..3 {
                add(&mut products, column, if row % 3 == column { 1.0 } else { 0.0 });
            }
            sketch.add_row(row, &products);
        }
        assert_eq!(sketch.products.len(), FOLDED_ROWS as usize);
        let found = low_rank(&sketch.energies(), 0.0).unwrap();
        assert_eq!(found.rank, 3);
    }
}
