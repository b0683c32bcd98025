//! Uchida and DeepMarks: bits that a projection matrix reads from the mean filter of a layer.
//!
//! Source: Y. Uchida, Y. Nagai, S. Sakazawa and S. Satoh, "Embedding Watermarks into Deep Neural
//! Networks", ICMR 2017, section 3; H. Chen, B. D. Rohani and F. Koushanfar, "DeepMarks", 2018, reads a
//! user's code the same way. With w the weights averaged over the output channels and flattened in
//! row-major order (M elements) and X the matrix of the key (M x T), bit j is 1 where
//! sum_i w_i X_ij >= 0.
//!
//! A projection of exactly zero is 1 by that definition, but counts as a mismatch, so that a layer of zeros does not
//! match a key of ones.

use super::arrays::{Array, ArrayError, ArrayRole, NamedArrayError};
use super::key_directory::KeyDirectory;
use super::key_id::KeyIdHasher;
use super::measurement::{PartMeasurement, Projections, Statistic};
use super::{KeyPart, MAX_BITS, MeasurementContext, ThirdPartyError, check_floats};
use serde::Deserialize;
use tensorseal_engine::RunError;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_format::Tensor;
use tensorseal_weights::values::TensorValues;

/// A part of a key in its descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProjectionDescriptor {
    tensor: String,
    axis: u64,
    projection: String,
    bits: String,
}

/// A part of a key of Uchida or DeepMarks.
pub(super) struct ProjectionPart {
    tensor: String,
    /// The axis of the output channels.
    axis: u64,
    /// The projection matrix, M x T.
    projection: Array,
    /// The T bits.
    bits: Array,
}

impl ProjectionPart {
    /// Reads the arrays of a part.
    pub(super) fn read(
        part: ProjectionDescriptor,
        directory: &mut KeyDirectory<'_>,
    ) -> Result<Self, NamedArrayError> {
        let projection =
            directory.exclusive_array(&part.projection, ArrayRole::Matrix, &mut |_, _| ())?;
        let bits = directory.array(&part.bits, ArrayRole::Bits)?;
        check_bits(&bits, projection.tensor.shape[1])?;
        Ok(Self { tensor: part.tensor, axis: part.axis, projection, bits })
    }
}

/// Checks that there is a bit for each column of a matrix.
pub(super) fn check_bits(bits: &Array, columns: u64) -> Result<(), NamedArrayError> {
    if bits.len() == columns {
        return Ok(());
    }
    let expected = format!("one bit for each of the {columns} columns of the matrix is needed");
    Err(ArrayError::Shape { shape: bits.tensor.shape.clone(), expected }.with_name(&bits.name))
}

/// Reads the bits of a key: at most [`MAX_BITS`], as was checked.
pub(super) fn read_bits(files: &FileSet<'_>, bits: &Array) -> Result<Vec<bool>, RunError> {
    let values = bits.values(files).read(0, MAX_BITS as usize)?;
    Ok(values.iter().map(|bit| *bit != 0.0).collect())
}

/// Adds elements of a matrix with this number of columns, from element `first` on, to projections. `element` returns
/// the element of the vector for a row, and the sum of the magnitudes of its terms.
pub(super) fn project(
    projections: &mut Projections,
    columns: u64,
    first: u64,
    mut matrix: &[f64],
    element: impl Fn(usize) -> (f64, f64),
) {
    let mut at = first;
    while !matrix.is_empty() {
        let (row, column) = ((at / columns) as usize, at % columns);
        let len = matrix.len().min((columns - column) as usize);
        let (part, rest) = matrix.split_at(len);
        let (value, magnitude) = element(row);
        projections.add(value, magnitude, column as usize, part);
        (matrix, at) = (rest, at + len as u64);
    }
}

/// The mean of a tensor over one axis.
struct Mean {
    /// The number of consecutive elements for one index of the axis, and the length of the axis.
    inner: u64,
    axis: u64,
    sums: Vec<f64>,
    magnitudes: Vec<f64>,
    /// The number of finite non-zero weights.
    nonzero: u64,
}

impl Mean {
    /// Creates the mean over this axis of a tensor whose other dimensions have `rows` elements.
    fn new(shape: &[u64], axis: usize, rows: usize) -> Self {
        let inner = shape[axis + 1..].iter().product();
        let (sums, magnitudes) = (vec![0.0; rows], vec![0.0; rows]);
        Self { inner, axis: shape[axis], sums, magnitudes, nonzero: 0 }
    }

    /// Adds consecutive weights from element `first` on.
    fn add(&mut self, first: u64, weights: &[f64]) {
        for (flat, weight) in (first..).zip(weights) {
            let (outer, within) = (flat / self.inner / self.axis, flat % self.inner);
            let row = (outer * self.inner + within) as usize;
            self.sums[row] += weight;
            self.magnitudes[row] += weight.abs();
            self.nonzero += u64::from(*weight != 0.0);
        }
    }

    /// Returns the mean of a row, and the mean of the magnitudes.
    fn row_mean(&self, row: usize) -> (f64, f64) {
        let length = self.axis as f64;
        (self.sums[row] / length, self.magnitudes[row] / length)
    }
}

impl KeyPart for ProjectionPart {
    fn tensor(&self) -> &str {
        &self.tensor
    }

    fn arrays(&self) -> Vec<&Array> {
        vec![&self.projection, &self.bits]
    }

    fn commit(&self, id: &mut KeyIdHasher) {
        id.text(&self.tensor);
        id.number(self.axis);
        id.array(&self.projection);
        id.array(&self.bits);
    }

    fn check(&self, tensor: &Tensor) -> Result<(), ThirdPartyError> {
        check_floats(tensor)?;
        let axis = usize::try_from(self.axis).ok().filter(|axis| *axis < tensor.shape.len());
        let Some(axis) = axis else {
            return Err(ThirdPartyError::shape(tensor, format!("it has no axis {}", self.axis)));
        };
        // The product is checked, because the other dimensions can be arbitrarily large if one is 0.
        let mut others = tensor.shape.iter().enumerate().filter(|(at, _)| *at != axis);
        let rows = others.try_fold(1u64, |all, (_, dimension)| all.checked_mul(*dimension));
        let rows = rows.ok_or_else(|| ThirdPartyError::shape(tensor, "it is too large"))?;
        let matrix_rows = self.projection.tensor.shape[0];
        if rows == matrix_rows && tensor.shape[axis] > 0 {
            return Ok(());
        }
        let what = format!(
            "without axis {axis} it has {rows} elements, but the matrix {} has {matrix_rows} rows",
            self.projection.name
        );
        Err(ThirdPartyError::shape(tensor, what))
    }

    fn measure(
        &self,
        tensor: &Tensor,
        run: &MeasurementContext<'_>,
    ) -> Result<PartMeasurement, ThirdPartyError> {
        let (rows, columns) = (self.projection.tensor.shape[0], self.projection.tensor.shape[1]);
        // Both as checked: at most MAX_ROWS and MAX_BITS.
        let mut mean = Mean::new(&tensor.shape, self.axis as usize, rows as usize);
        let weights = run.weights(tensor)?;
        for piece in run.pieces(&weights) {
            let (first, piece) = piece?;
            mean.add(first, &piece);
        }
        let matrix: TensorValues<'_> = self.projection.values(&run.key);
        let mut projections = Projections::new(columns as usize, mean.axis);
        for piece in run.pieces(&matrix) {
            let (first, piece) = piece?;
            project(&mut projections, columns, first, &piece, |row| mean.row_mean(row));
        }
        let matches = projections.compare(&read_bits(&run.key, &self.bits)?);
        Ok(PartMeasurement {
            tensor: tensor.name.clone(),
            elements: mean.nonzero,
            statistic: Statistic::Bits(matches),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The mean over any axis, in pieces, is that by its definition.
        #[test]
        fn means_are_those_of_every_index(
            shape in prop::collection::vec(1u64..5, 1..5),
            axis in any::<prop::sample::Index>(),
            piece in 1usize..20,
        ) {
            let axis = axis.index(shape.len());
            let elements: u64 = shape.iter().product();
            let weights: Vec<f64> = (0..elements).map(|i| ((i * 37) % 11) as f64 - 4.0).collect();
            let rows = (elements / shape[axis]) as usize;
            let mut mean = Mean::new(&shape, axis, rows);
            for (index, part) in weights.chunks(piece).enumerate() {
                mean.add((index * piece) as u64, part);
            }
            // By its definition: strides, and the index without the axis in row-major order.
            let mut sums = vec![0.0; rows];
            for (flat, weight) in weights.iter().enumerate() {
                let (mut rest, mut row, mut stride) = (flat as u64, 0, 1);
                for (at, dimension) in shape.iter().enumerate().rev() {
                    let index = rest % dimension;
                    rest /= dimension;
                    if at != axis {
                        row += index * stride;
                        stride *= dimension;
                    }
                }
                sums[row as usize] += weight;
            }
            for (row, sum) in sums.iter().enumerate() {
                prop_assert_eq!(mean.row_mean(row).0, sum / shape[axis] as f64);
            }
            prop_assert_eq!(mean.nonzero, weights.iter().filter(|w| **w != 0.0).count() as u64);
        }
    }
}
