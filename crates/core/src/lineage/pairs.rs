//! Which tensors of a model are those of its baseline.

use crate::seal::Seal;
use std::collections::{HashMap, HashSet};
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_format::Checkpoint;

/// A tensor whose content differs from that of the baseline's tensor of the same name, type and shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedTensor {
    /// Index into [`Checkpoint::tensors`].
    pub tensor: usize,
    /// Index into [`Seal::tensors`] of the baseline.
    pub baseline: usize,
    /// Index into [`Seal::tensors`] of another tensor of the baseline that has this very content.
    pub content_of: Option<usize>,
}

/// See the module. Numbers are indexes into the model's or the baseline's tensors.
#[derive(Debug, Default)]
pub struct TensorPairs {
    /// Tensors with the baseline's content.
    pub equal: usize,
    /// Tensors with another content, in order of the model.
    pub changed: Vec<ChangedTensor>,
    /// Tensors (of the model) with another type or shape.
    pub retyped: Vec<usize>,
    /// Tensors (of the model) whose name the baseline does not have.
    pub added: Vec<usize>,
    /// Tensors (of the baseline) whose name the model does not have.
    pub missing: Vec<usize>,
    /// How many of the missing ones are there under another name.
    pub renamed: usize,
}

impl TensorPairs {
    /// Pairs the tensors of `model` with those of its baseline by name. `digests`: of the model's
    /// tensors, by index; a tensor without one does not fit its file and is left out.
    pub fn new(
        model: &Checkpoint,
        digests: &HashMap<usize, ChainingValue>,
        baseline: &Seal,
    ) -> TensorPairs {
        let mut by_content: HashMap<&ChainingValue, usize> = HashMap::new();
        for (index, tensor) in baseline.tensors.iter().enumerate() {
            by_content.entry(&tensor.blake3).or_insert(index);
        }
        let (mut pairs, mut added, mut met) =
            (TensorPairs::default(), HashSet::new(), HashSet::new());
        for (index, tensor) in model.tensors.iter().enumerate() {
            let found = baseline.tensors.binary_search_by(|sealed| sealed.name.cmp(&tensor.name));
            if let Ok(place) = found {
                met.insert(place);
            }
            let Some(digest) = digests.get(&index) else { continue };
            let Ok(place) = found else {
                added.insert(digest);
                pairs.added.push(index);
                continue;
            };
            let sealed = &baseline.tensors[place];
            let laid_out = (&sealed.shape, &sealed.strides) == (&tensor.shape, &tensor.strides);
            if sealed.dtype != tensor.dtype || !laid_out {
                pairs.retyped.push(index);
            } else if sealed.blake3 == *digest {
                pairs.equal += 1;
            } else {
                let content_of = by_content.get(digest).copied();
                pairs.changed.push(ChangedTensor { tensor: index, baseline: place, content_of });
            }
        }
        let all = 0..baseline.tensors.len();
        pairs.missing = all.filter(|place| !met.contains(place)).collect();
        let renamed = |place: &&usize| added.contains(&baseline.tensors[**place].blake3);
        pairs.renamed = pairs.missing.iter().filter(renamed).count();
        pairs
    }

    /// Whether every tensor is that of the baseline, and none else is there.
    pub fn is_identical(&self) -> bool {
        self.changed.is_empty()
            && self.retyped.is_empty()
            && self.added.is_empty()
            && self.missing.is_empty()
    }
}
