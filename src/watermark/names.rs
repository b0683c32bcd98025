//! The tensors of a model by their canonical names.

use super::canonical::canonical_name;
use crate::checkpoint::Checkpoint;
use std::collections::BTreeMap;

/// Index of the tensor of each canonical name; of several that share one, the first in the order of
/// their own names.
pub(super) fn by_canonical(model: &Checkpoint) -> BTreeMap<String, usize> {
    let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
    for (index, tensor) in model.tensors.iter().enumerate() {
        let canonical = canonical_name(&tensor.name).into_owned();
        let first = by_name.entry(canonical).or_insert(index);
        if tensor.name < model.tensors[*first].name {
            *first = index;
        }
    }
    by_name
}
