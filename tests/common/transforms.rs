//! What happens to weights between a release and a dispute.

use super::random::Random;
use super::weights::{Weights, write_as};
use half::f16;
use safetensors::tensor::Dtype;
use std::path::Path;

impl Weights {
    /// Whether it is large enough to carry a mark.
    pub(crate) fn carries(&self) -> bool {
        self.shape.len() >= 2 && self.values.len() >= 1 << 16
    }
}

/// Writes a file of F32 weights.
pub(crate) fn write(path: &Path, weights: &[Weights]) {
    write_as(path, weights, Dtype::F32);
}

/// What is done to the weights of every tensor that carries.
pub(crate) fn attacked(weights: &[Weights], attack: &dyn Fn(&mut [f32])) -> Vec<Weights> {
    let mut all = weights.to_vec();
    all.iter_mut().filter(|w| w.carries()).for_each(|w| attack(&mut w.values));
    all
}

/// To blocks of 32 with a scale in half precision and codes from -127 to 127, and back (GGUF's Q8_0).
pub(crate) fn eight_bit_blocks(values: &mut [f32]) {
    for block in values.chunks_mut(32) {
        let largest = block.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        let step = f16::from_f32(largest / 127.0).to_f32();
        for value in block {
            *value = if step == 0.0 { 0.0 } else { (*value / step).round() * step };
        }
    }
}

/// To blocks of 32 with a scale in half precision and codes from -8 to 7, and back (GGUF's Q4_0): the
/// value of largest magnitude gets the code -8.
pub(crate) fn four_bit_blocks(values: &mut [f32]) {
    for block in values.chunks_mut(32) {
        let largest =
            block.iter().fold(0.0f32, |most, v| if v.abs() > most.abs() { *v } else { most });
        let step = f16::from_f32(largest / -8.0).to_f32();
        for value in block {
            let code =
                if step == 0.0 { 0.0 } else { (*value / step + 8.5).floor().min(15.0) - 8.0 };
            *value = code * step;
        }
    }
}

/// Sets the given share of the weights, those of smallest magnitude, to zero.
pub(crate) fn pruned(values: &mut [f32], share: f64) {
    let mut magnitudes: Vec<f32> = values.iter().map(|v| v.abs()).collect();
    let at = (share * values.len() as f64) as usize;
    let (_, bound, _) = magnitudes.select_nth_unstable_by(at, f32::total_cmp);
    let bound = *bound;
    values.iter_mut().filter(|v| v.abs() < bound).for_each(|v| *v = 0.0);
}

/// Adds normal noise of the given share of the root mean square.
pub(crate) fn noisy(values: &mut [f32], share: f64, seed: u64) {
    let square: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
    let scale = share * (square / values.len() as f64).sqrt();
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    values.iter_mut().for_each(|v| *v += (scale * random.normal()) as f32);
}
