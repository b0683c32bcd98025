//! Computes the eigenvalues of small symmetric matrices by Jacobi rotations.
//!
//! Source: G. H. Golub and C. F. Van Loan, *Matrix Computations*, 4th edition, section 8.5 (the cyclic
//! method). Only additions, products, quotients and square roots are used, in a fixed order, so that the result is the
//! same on every machine.

/// The number of rows and of columns of the matrices.
pub const SIZE: usize = 16;

/// A square matrix, stored by row.
pub type Matrix = [[f64; SIZE]; SIZE];

/// The maximum number of sweeps over all pairs. A matrix of this size converges after seven or eight.
const SWEEPS: usize = 32;

/// Returns the eigenvalues of a symmetric matrix, largest first. They are NaN if an entry is not finite.
pub fn eigenvalues(matrix: &Matrix) -> [f64; SIZE] {
    let mut a = *matrix;
    if a.iter().flatten().any(|entry| !entry.is_finite()) {
        return [f64::NAN; SIZE];
    }
    for _ in 0..SWEEPS {
        let mut rotated = false;
        for p in 0..SIZE {
            for q in p + 1..SIZE {
                rotated |= rotate(&mut a, p, q);
            }
        }
        if !rotated {
            break;
        }
    }
    let mut values: [f64; SIZE] = std::array::from_fn(|i| a[i][i]);
    values.sort_unstable_by(|x, y| y.total_cmp(x));
    values
}

/// Rotates rows and columns `p` and `q` so that their common entry becomes zero. Returns `false` if the entry is already
/// negligible compared with the diagonal.
fn rotate(a: &mut Matrix, p: usize, q: usize) -> bool {
    let entry = a[p][q];
    if entry == 0.0 {
        return false;
    }
    let scale = libm::fabs(a[p][p]) + libm::fabs(a[q][q]);
    if libm::fabs(entry) <= f64::EPSILON * scale * 0.25 {
        a[p][q] = 0.0;
        a[q][p] = 0.0;
        return false;
    }
    let theta = (a[q][q] - a[p][p]) / (2.0 * entry);
    let sign = if theta < 0.0 { -1.0 } else { 1.0 };
    let tangent = sign / (libm::fabs(theta) + libm::sqrt(theta * theta + 1.0));
    let cosine = 1.0 / libm::sqrt(tangent * tangent + 1.0);
    let sine = tangent * cosine;
    for row in a.iter_mut() {
        let (x, y) = (row[p], row[q]);
        row[p] = cosine * x - sine * y;
        row[q] = sine * x + cosine * y;
    }
    let (above, below) = a.split_at_mut(q);
    for (first, second) in above[p].iter_mut().zip(&mut below[0]) {
        let (x, y) = (*first, *second);
        *first = cosine * x - sine * y;
        *second = sine * x + cosine * y;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// B diag(values) B' for a B that is orthogonal: a product of reflections.
    fn with_eigenvalues(values: &[f64], seeds: &[f64]) -> Matrix {
        let mut a = [[0.0; SIZE]; SIZE];
        for (i, value) in values.iter().enumerate() {
            a[i][i] = *value;
        }
        for vector in seeds.chunks_exact(SIZE) {
            let square: f64 = vector.iter().map(|x| x * x).sum();
            let reflect = |a: &mut Matrix| {
                for row in a.iter_mut() {
                    let along: f64 = row.iter().zip(vector).map(|(x, v)| x * v).sum();
                    row.iter_mut().zip(vector).for_each(|(x, v)| *x -= 2.0 * along * v / square);
                }
            };
            reflect(&mut a);
            let mut transposed: Matrix = std::array::from_fn(|i| std::array::from_fn(|j| a[j][i]));
            reflect(&mut transposed);
            a = transposed;
        }
        a
    }

    proptest! {
        #[test]
        fn known_eigenvalues_are_found(
            mut values in prop::collection::vec(0.0f64..1e6, SIZE),
            seeds in prop::collection::vec(0.1f64..1.0, 3 * SIZE),
            rank in 1usize..=SIZE,
        ) {
            values[rank..].fill(0.0);
            let found = eigenvalues(&with_eigenvalues(&values, &seeds));
            values.sort_unstable_by(|x, y| y.total_cmp(x));
            for (found, value) in found.iter().zip(&values) {
                prop_assert!((found - value).abs() < 1e-8 * values[0].max(1.0), "{} {}", found, value);
            }
        }
    }

    #[test]
    fn diagonal_and_non_finite_matrices_need_no_rotation() {
        let mut a = [[0.0; SIZE]; SIZE];
        a[3][3] = 2.0;
        a[9][9] = 5.0;
        let found = eigenvalues(&a);
        assert_eq!(&found[..3], &[5.0, 2.0, 0.0]);
        a[0][1] = f64::INFINITY;
        assert!(eigenvalues(&a).iter().all(|value| value.is_nan()));
    }
}
