//! Creates models for tests.

use super::reader::{self, WeightReader};
use super::{Weight, Weights};
use safetensors::tensor::{Dtype, TensorView, serialize};
use std::collections::HashMap;
use std::fs;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_format::{Checkpoint, OpenOptions};

/// A directory with a model.
pub(crate) struct TestModel(tempfile::TempDir);

/// A tensor of type F32: its name, dimensions, and values.
pub(crate) type TestTensor<'a> = (&'a str, Vec<usize>, Vec<f32>);

/// Returns the numbers 0, 1, 2, …
pub(crate) fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|number| number as f32).collect()
}

impl TestModel {
    /// Creates an empty directory.
    pub(crate) fn new() -> Self {
        TestModel(tempfile::tempdir().unwrap())
    }

    /// Adds a safetensors file.
    pub(crate) fn file(&self, path: &str, tensors: &[TestTensor<'_>], metadata: &[(&str, &str)]) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let data: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        let views = tensors.iter().zip(&data).map(|((name, shape, _), data)| {
            (*name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap())
        });
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        fs::write(path, serialize(views, Some(metadata)).unwrap()).unwrap();
    }

    /// Adds a text file.
    pub(crate) fn text(&self, path: &str, text: &str) {
        fs::write(self.0.path().join(path), text).unwrap();
    }

    /// Opens the directory as a model.
    pub(crate) fn open(&self) -> Checkpoint {
        self.open_at("")
    }

    /// Opens one of the files as a model.
    pub(crate) fn open_at(&self, path: &str) -> Checkpoint {
        Checkpoint::open(&self.0.path().join(path), &OpenOptions::default()).unwrap()
    }
}

/// Returns the values of a weight, read in pieces of this number of elements.
pub(crate) fn values(model: &Checkpoint, weight: &Weight, piece: usize) -> Vec<f64> {
    let plan = reader::read_plan(model, std::iter::once(weight));
    let files = FileSet::new(&model.files, &plan);
    let reader = WeightReader::new(model, &files);
    let count = weight.elements().unwrap() as usize;
    let mut values = Vec::new();
    while values.len() < count {
        let take = piece.min(count - values.len());
        values.extend(reader.read(weight, values.len() as u64, take).unwrap());
    }
    values
}

/// Returns the only weight with a canonical name.
pub(crate) fn weight<'w>(weights: &'w Weights, canonical: &str) -> &'w Weight {
    let mut matching = weights.readable.iter().filter(|weight| weight.canonical == canonical);
    let weight = matching.next().unwrap_or_else(|| panic!("{canonical}"));
    assert!(matching.next().is_none(), "{canonical} twice");
    weight
}
