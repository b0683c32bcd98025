//! Finds the tensors of a model by name or canonical name.

use std::collections::BTreeMap;
use tensorseal_format::canonical::canonical_name;
use tensorseal_format::{Checkpoint, Tensor};

/// Returns the tensor index for each canonical name, among the tensors that `is_candidate` accepts with their canonical
/// name. If several share a canonical name, the first in the order of their stored names counts.
pub(super) fn by_canonical(
    model: &Checkpoint,
    is_candidate: impl Fn(&Tensor, &str) -> bool,
) -> BTreeMap<String, usize> {
    let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
    for (index, tensor) in model.tensors.iter().enumerate() {
        let canonical = canonical_name(&tensor.name);
        if !is_candidate(tensor, &canonical) {
            continue;
        }
        let first = by_name.entry(canonical.into_owned()).or_insert(index);
        if tensor.name < model.tensors[*first].name {
            *first = index;
        }
    }
    by_name
}

/// Finds the tensors that a key names: by the exact name, or else by the canonical name.
pub(super) struct TensorIndex<'a> {
    model: &'a Checkpoint,
    exact: BTreeMap<&'a str, usize>,
    canonical: BTreeMap<String, usize>,
}

impl<'a> TensorIndex<'a> {
    /// Creates the index of a model.
    pub(super) fn new(model: &'a Checkpoint) -> Self {
        let names = model.tensors.iter().enumerate();
        let exact = names.map(|(index, tensor)| (tensor.name.as_str(), index)).collect();
        Self { model, exact, canonical: by_canonical(model, |_, _| true) }
    }

    /// Returns the index of a tensor in [`Checkpoint::tensors`].
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let exact = self.exact.get(name);
        exact.or_else(|| self.canonical.get(canonical_name(name).as_ref())).copied()
    }

    /// Returns the tensor index for each canonical name.
    pub(super) fn canonical(&self) -> &BTreeMap<String, usize> {
        &self.canonical
    }

    /// Returns whether a tensor is complete and in row-major order. A tensor of a damaged model may be incomplete,
    /// and a view with strides is not in row-major order.
    pub(super) fn is_whole(&self, index: usize) -> bool {
        let tensor = &self.model.tensors[index];
        let elements = tensor.shape.iter().try_fold(1u64, |all, one| all.checked_mul(*one));
        let end = tensor.offset.checked_add(tensor.bytes);
        tensor.strides.is_none()
            && elements.and_then(|elements| tensor.dtype.byte_len(elements)) == Some(tensor.bytes)
            && end.is_some_and(|end| end <= self.model.files[tensor.file].bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
    use tensorseal_format::OpenOptions;

    #[test]
    fn the_name_as_it_is_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let names = ["module.x.weight", "model.x.weight", "y.weight"];
        let views = names.map(|name| (name, TensorView::new(Dtype::U8, vec![1], &[7]).unwrap()));
        serialize_to_file(views, None, &path).unwrap();
        let mut model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
        let found = |model: &Checkpoint, name: &str| {
            TensorIndex::new(model).find(name).map(|index| model.tensors[index].name.clone())
        };
        for (name, expected) in [
            ("module.x.weight", Some("module.x.weight")),
            ("x.weight", Some("model.x.weight")),
            ("model.y.weight", Some("y.weight")),
            ("z.weight", None),
            ("", None),
        ] {
            assert_eq!(found(&model, name).as_deref(), expected, "{name}");
        }
        assert!(TensorIndex::new(&model).is_whole(0));
        model.tensors[0].bytes += 1;
        assert!(!TensorIndex::new(&model).is_whole(0));
        model.tensors[1].offset = u64::MAX;
        assert!(!TensorIndex::new(&model).is_whole(1));
    }
}
