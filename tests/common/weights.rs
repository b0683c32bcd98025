//! Weights as numbers: real ones, and what happens to them between a release and a dispute.

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A tensor of F32 weights.
#[derive(Clone)]
pub struct Weights {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Weights {
    /// Whether it is large enough to carry a mark.
    pub fn carries(&self) -> bool {
        self.shape.len() >= 2 && self.values.len() >= 1 << 16
    }
}

/// The F32 tensors of a file.
pub fn read(path: &Path) -> Vec<Weights> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = file.iter().filter(|(_, tensor)| tensor.dtype() == Dtype::F32);
    let mut all: Vec<Weights> = floats
        .map(|(name, tensor)| Weights {
            name: name.to_owned(),
            shape: tensor.shape().to_vec(),
            values: tensor
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect(),
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Writes a file of these weights in another type.
pub fn write_as(path: &Path, weights: &[Weights], dtype: Dtype) {
    let data: BTreeMap<&str, Vec<u8>> =
        weights.iter().map(|w| (w.name.as_str(), encode(&w.values, dtype))).collect();
    let views = weights.iter().map(|w| {
        (w.name.as_str(), TensorView::new(dtype, w.shape.clone(), &data[w.name.as_str()]).unwrap())
    });
    serialize_to_file(views, None, path).unwrap();
}

/// Writes a file of F32 weights.
pub fn write(path: &Path, weights: &[Weights]) {
    write_as(path, weights, Dtype::F32);
}

fn encode(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        Dtype::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        other => panic!("{other:?} is not written here"),
    }
}

/// What is done to the weights of every tensor that carries.
pub fn attacked(weights: &[Weights], attack: &dyn Fn(&mut [f32])) -> Vec<Weights> {
    let mut all = weights.to_vec();
    all.iter_mut().filter(|w| w.carries()).for_each(|w| attack(&mut w.values));
    all
}

/// To blocks of 32 with a scale in half precision and codes from -127 to 127, and back (GGUF's Q8_0).
pub fn eight_bit_blocks(values: &mut [f32]) {
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
pub fn four_bit_blocks(values: &mut [f32]) {
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
pub fn pruned(values: &mut [f32], share: f64) {
    let mut magnitudes: Vec<f32> = values.iter().map(|v| v.abs()).collect();
    let at = (share * values.len() as f64) as usize;
    let (_, bound, _) = magnitudes.select_nth_unstable_by(at, f32::total_cmp);
    let bound = *bound;
    values.iter_mut().filter(|v| v.abs() < bound).for_each(|v| *v = 0.0);
}

/// Adds normal noise of the given share of the root mean square.
pub fn noisy(values: &mut [f32], share: f64, seed: u64) {
    let square: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
    let scale = share * (square / values.len() as f64).sqrt();
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    values.iter_mut().for_each(|v| *v += (scale * random.normal()) as f32);
}

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    /// Between 0 and 1.
    pub fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Box and Muller, 1958.
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}
