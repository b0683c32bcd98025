//! Carriers of normal numbers or signs that were added to the weights.
//!
//! The statistic of both is z = sum_i c_i w_i / (sigma ||w||).
//!
//! - Normal numbers, as GaussMark adds them to a layer (A. Block, A. Sekhari and A. Rakhlin, "GaussMark:
//!   A Practical Approach for Structural Watermarking of Language Models", 2025): if xi was drawn independently of w,
//!   z is exactly standard normal. The numbers themselves are the key, because a seed gives other numbers on another
//!   device.
//! - Signs, as in spread-spectrum carriers (CDMA, MaleficNet): the bounds of
//!   [`bounds::signs_tail_log10`](crate::judge::bounds::signs_tail_log10) hold for every w.

use super::arrays::{Array, ArrayError, ArrayRole, NamedArrayError, shown};
use super::key_directory::KeyDirectory;
use super::key_id::KeyIdHasher;
use super::measurement::{InnerProduct, PartMeasurement, Statistic};
use super::signed_positions::{ElementWindow, SignedPositions};
use super::{KeyPart, MAX_PARTS, MeasurementContext, ThirdPartyError, check_floats};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::Deserialize;
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::RunError;
use tensorseal_format::Tensor;
use tensorseal_weights::values::{Decoder, PIECE_LEN, TensorValues};

/// The number of pieces that are summed up together, which limits the memory for partial sums.
const BATCH: usize = 256;

/// A part of normal numbers in a descriptor: one array for one tensor, or all tensors of a file for the tensors of the
/// same names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NormalDescriptor {
    #[serde(default)]
    tensor: Option<String>,
    xi: String,
}

/// A part of signs in a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignsDescriptor {
    tensor: String,
    chips: String,
    #[serde(default)]
    positions: Option<String>,
}

/// A part of normal numbers, for a tensor of the same shape.
pub(super) struct NormalPart {
    tensor: String,
    xi: Array,
}

impl NormalPart {
    /// Reads the arrays of a part, at most `max_parts`.
    pub(super) fn read(
        part: NormalDescriptor,
        sigma: f64,
        max_parts: usize,
        directory: &mut KeyDirectory<'_>,
    ) -> Result<Vec<Self>, NamedArrayError> {
        if let Some(tensor) = part.tensor {
            let mut squares = 0.0;
            let xi = directory.exclusive_array(&part.xi, ArrayRole::Drawn, &mut |_, values| {
                squares += values.iter().map(|value| value * value).sum::<f64>();
            })?;
            return Ok(vec![Self::checked(tensor, xi, squares, sigma)?]);
        }
        let names = directory.names(&part.xi)?;
        if names.len() > max_parts {
            let what = format!("has {} tensors; a key has at most {MAX_PARTS} parts", names.len());
            return Err(ArrayError::Unfit(what).with_name(&part.xi));
        }
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            let mut squares = 0.0;
            let xi = directory.exclusive_tensor(
                &part.xi,
                &name,
                ArrayRole::Drawn,
                &mut |_, values| {
                    squares += values.iter().map(|value| value * value).sum::<f64>();
                },
            )?;
            all.push(Self::checked(name, xi, squares, sigma)?);
        }
        Ok(all)
    }

    /// Refuses numbers that do not fit a normal distribution of this standard deviation, because the p-value would be
    /// wrong.
    fn checked(
        tensor: String,
        xi: Array,
        squares: f64,
        sigma: f64,
    ) -> Result<Self, NamedArrayError> {
        let n = xi.len() as f64;
        let measured = squares / (sigma * sigma);
        if is_chi_square(measured, n) {
            return Ok(Self { tensor, xi });
        }
        let what = format!(
            "has a root mean square of {:e}, which does not fit normal numbers of sigma {sigma:e}; set the sigma that they were drawn with",
            libm::sqrt(squares / n)
        );
        Err(ArrayError::Unfit(what).with_name(&xi.name))
    }
}

/// Returns whether a sum of squares can be that of n standard normal numbers: about 6.3 standard deviations around n,
/// and a little more above. The probability of a false refusal is at most e^-20, about 2e-9, on each side.
///
/// Source: B. Laurent and P. Massart, "Adaptive estimation of a quadratic functional by model selection",
/// *Annals of Statistics* 28(5), 2000, lemma 1, with x = 20.
fn is_chi_square(squares: f64, n: f64) -> bool {
    const X: f64 = 20.0;
    let around = 2.0 * libm::sqrt(n * X);
    squares >= n - around && squares <= n + around + 2.0 * X
}

/// Returns half a unit in the last place of 1.
fn unit(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F32 => f64::from(f32::EPSILON) / 2.0,
        _ => f64::EPSILON / 2.0,
    }
}

/// Computes the inner product of two arrays of the same length, in the order of their pieces, so that the result does
/// not depend on the number of threads.
fn inner_product(
    run: &MeasurementContext<'_>,
    carrier: &TensorValues<'_>,
    weights: &TensorValues<'_>,
    carrier_error: f64,
) -> Result<InnerProduct, RunError> {
    let starts: Vec<u64> = (0..BATCH as u64).map(|piece| piece * PIECE_LEN as u64).collect();
    let mut whole = InnerProduct::default();
    let batch = (BATCH * PIECE_LEN) as u64;
    for base in (0..weights.len()).step_by(BATCH * PIECE_LEN) {
        let end = base.saturating_add(batch).min(weights.len());
        let sums: Vec<InnerProduct> = run.pool.install(|| {
            starts
                .par_iter()
                .filter(|start| base + **start < end)
                .map(|start| {
                    let carrier = run.piece(carrier, base + start)?;
                    let weights = run.piece(weights, base + start)?;
                    Ok(InnerProduct::from_slices(&carrier, &weights, carrier_error))
                })
                .collect::<Result<_, RunError>>()
        })?;
        sums.iter().for_each(|sum| whole.merge(sum));
    }
    Ok(whole)
}

fn measured(tensor: &Tensor, inner: InnerProduct) -> PartMeasurement {
    PartMeasurement {
        tensor: tensor.name.clone(),
        elements: inner.elements,
        statistic: Statistic::InnerProduct(inner),
    }
}

impl KeyPart for NormalPart {
    fn tensor(&self) -> &str {
        &self.tensor
    }

    fn arrays(&self) -> Vec<&Array> {
        vec![&self.xi]
    }

    fn commit(&self, id: &mut KeyIdHasher) {
        id.text(&self.tensor);
        id.array(&self.xi);
    }

    fn check(&self, tensor: &Tensor) -> Result<(), ThirdPartyError> {
        check_floats(tensor)?;
        if tensor.shape == self.xi.tensor.shape {
            return Ok(());
        }
        let what = format!("{} has the shape {}", self.xi.name, shown(&self.xi.tensor.shape));
        Err(ThirdPartyError::shape(tensor, what))
    }

    fn measure(
        &self,
        tensor: &Tensor,
        run: &MeasurementContext<'_>,
    ) -> Result<PartMeasurement, ThirdPartyError> {
        let carrier = self.xi.values(&run.key);
        let carrier_error = unit(self.xi.tensor.dtype);
        let inner = inner_product(run, &carrier, &run.weights(tensor)?, carrier_error)?;
        Ok(measured(tensor, inner))
    }
}

/// A part of signs, for all or some elements of a tensor.
pub(super) struct SignsPart {
    tensor: String,
    chips: Array,
    /// The positions with the largest one; `None` for all elements in order.
    positions: Option<(Array, u64)>,
}

impl SignsPart {
    /// Reads the arrays of a part.
    pub(super) fn read(
        part: SignsDescriptor,
        directory: &mut KeyDirectory<'_>,
    ) -> Result<Self, NamedArrayError> {
        let chips = directory.exclusive_array(&part.chips, ArrayRole::Signs, &mut |_, _| ())?;
        let positions = match &part.positions {
            Some(positions) => Some(SignedPositions::check(directory, positions, &chips)?),
            None => None,
        };
        Ok(Self { tensor: part.tensor, chips, positions })
    }

    /// Computes the inner product at the positions of the key.
    fn at_positions(
        &self,
        positions: &Array,
        tensor: &Tensor,
        run: &MeasurementContext<'_>,
    ) -> Result<InnerProduct, ThirdPartyError> {
        let decoder = Decoder::for_weights(tensor.dtype);
        let decoder = decoder.ok_or_else(|| ThirdPartyError::dtype(tensor, super::FLOATS))?;
        let values = SignedPositions::read(&run.key, positions, &self.chips)?;
        let mut window = ElementWindow::new(run, &run.model, tensor);
        let mut whole = InnerProduct::default();
        let (mut chips, mut weights) = (Vec::new(), Vec::new());
        for (index, (position, negative)) in values.iter().enumerate() {
            chips.push(if negative { -1.0 } else { 1.0 });
            weights.push(decoder.value(&window.code(position)?.to_le_bytes()));
            if weights.len() == PIECE_LEN || index + 1 == values.len() {
                whole.merge(&InnerProduct::from_slices(&chips, &weights, 0.0));
                chips.clear();
                weights.clear();
            }
        }
        // Windows without positions are not read.
        run.progress.add(tensor.bytes + self.arrays().iter().map(|a| a.tensor.bytes).sum::<u64>());
        Ok(whole)
    }
}

impl KeyPart for SignsPart {
    fn tensor(&self) -> &str {
        &self.tensor
    }

    fn arrays(&self) -> Vec<&Array> {
        let positions = self.positions.iter().map(|(positions, _)| positions);
        std::iter::once(&self.chips).chain(positions).collect()
    }

    fn commit(&self, id: &mut KeyIdHasher) {
        id.text(&self.tensor);
        id.number(self.arrays().len() as u64);
        self.arrays().into_iter().for_each(|array| id.array(array));
    }

    fn check(&self, tensor: &Tensor) -> Result<(), ThirdPartyError> {
        check_floats(tensor)?;
        let elements: u64 = tensor.shape.iter().product();
        match &self.positions {
            None if self.chips.len() != elements => {
                let (name, len) = (&self.chips.name, self.chips.len());
                let what = format!("it has {elements} elements, but {name} has {len} signs");
                Err(ThirdPartyError::shape(tensor, what))
            }
            Some((_, largest)) if *largest >= elements => {
                let what =
                    format!("it has {elements} elements, but the key names element {largest}");
                Err(ThirdPartyError::shape(tensor, what))
            }
            _ => Ok(()),
        }
    }

    fn measure(
        &self,
        tensor: &Tensor,
        run: &MeasurementContext<'_>,
    ) -> Result<PartMeasurement, ThirdPartyError> {
        let inner = match &self.positions {
            Some((positions, _)) => self.at_positions(positions, tensor, run)?,
            None => {
                let carrier = self.chips.values(&run.key);
                inner_product(run, &carrier, &run.weights(tensor)?, 0.0)?
            }
        };
        Ok(measured(tensor, inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_squares_are_held_to_their_distribution() {
        for n in [1.0, 10.0, 1e3, 1e6, 1e9] {
            assert!(is_chi_square(n, n));
            let deviation = (2.0 * n).sqrt();
            assert!(is_chi_square(n + 6.0 * deviation, n));
            assert!(is_chi_square((n - 6.0 * deviation).max(0.0), n));
            assert!(!is_chi_square(n + 6.4 * deviation + 41.0, n));
            assert!(n < 100.0 || !is_chi_square(n - 6.4 * deviation, n));
        }
        assert!(!is_chi_square(f64::NAN, 10.0));
        assert!(!is_chi_square(f64::INFINITY, 10.0));
        // Numbers of twice the standard deviation, and constant zeros.
        assert!(!is_chi_square(4e4, 1e4) && !is_chi_square(0.0, 1e4));
    }
}
