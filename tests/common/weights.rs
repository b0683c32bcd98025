//! Weights as numbers.

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A tensor of F32 weights.
#[derive(Clone)]
pub(crate) struct Weights {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// The F32 tensors of a file.
pub(crate) fn read(path: &Path) -> Vec<Weights> {
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
pub(crate) fn write_as(path: &Path, weights: &[Weights], dtype: Dtype) {
    let data: BTreeMap<&str, Vec<u8>> =
        weights.iter().map(|w| (w.name.as_str(), encode(&w.values, dtype))).collect();
    let views = weights.iter().map(|w| {
        (w.name.as_str(), TensorView::new(dtype, w.shape.clone(), &data[w.name.as_str()]).unwrap())
    });
    serialize_to_file(views, None, path).unwrap();
}

fn encode(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        Dtype::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        other => panic!("{other:?} is not written here"),
    }
}
