//! Pairs the tensors of a model with those of its baseline.

use crate::seal::Seal;
use std::collections::{HashMap, HashSet};
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_format::Checkpoint;

/// A tensor whose content differs from that of the baseline's tensor of the same name, type and shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedTensor {
    /// The index of the tensor in [`Checkpoint::tensors`].
    pub tensor: usize,
    /// The index of the baseline's tensor in [`Seal::tensors`].
    pub baseline: usize,
    /// The index in [`Seal::tensors`] of another tensor of the baseline with exactly this content, if there is one.
    pub content_of: Option<usize>,
}

/// The tensors of a model and its baseline, by how they match. Numbers are indices into the tensors of the model or the
/// baseline.
#[derive(Debug, Default)]
pub struct TensorPairs {
    /// The number of tensors that equal the baseline's.
    pub equal: usize,
    /// The tensors whose content changed, in the order of the model.
    pub changed: Vec<ChangedTensor>,
    /// The tensors of the model whose type or shape changed.
    pub retyped: Vec<usize>,
    /// The tensors of the model whose name the baseline does not have.
    pub added: Vec<usize>,
    /// The tensors of the baseline whose name the model does not have.
    pub missing: Vec<usize>,
    /// The number of missing tensors whose content the model has under another name.
    pub renamed: usize,
}

impl TensorPairs {
    /// Pairs the tensors of `model` with those of its baseline by name.
    ///
    /// `digests` are those of the model's tensors, by index. A tensor without a digest does not fit its file and is skipped.
    pub fn new(
        model: &Checkpoint,
        digests: &HashMap<usize, ChainingValue>,
        baseline: &Seal,
    ) -> TensorPairs {
        let mut by_content: HashMap<&ChainingValue, usize> = HashMap::new();
        for (index, tensor) in baseline.tensors.iter().enumerate() {
            by_content.entry(&tensor.blake3).or_insert(index);
        }
        let (mut pairs, mut added, mut matched) =
            (TensorPairs::default(), HashSet::new(), HashSet::new());
        for (index, tensor) in model.tensors.iter().enumerate() {
            let matching =
                baseline.tensors.binary_search_by(|sealed| sealed.name.cmp(&tensor.name));
            if let Ok(position) = matching {
                matched.insert(position);
            }
            let Some(digest) = digests.get(&index) else { continue };
            let Ok(position) = matching else {
                added.insert(digest);
                pairs.added.push(index);
                continue;
            };
            let sealed = &baseline.tensors[position];
            let same_layout = (&sealed.shape, &sealed.strides) == (&tensor.shape, &tensor.strides);
            if sealed.dtype != tensor.dtype || !same_layout {
                pairs.retyped.push(index);
            } else if sealed.blake3 == *digest {
                pairs.equal += 1;
            } else {
                let content_of = by_content.get(digest).copied();
                pairs.changed.push(ChangedTensor { tensor: index, baseline: position, content_of });
            }
        }
        let all = 0..baseline.tensors.len();
        pairs.missing = all.filter(|position| !matched.contains(position)).collect();
        let renamed = |position: &&usize| added.contains(&baseline.tensors[**position].blake3);
        pairs.renamed = pairs.missing.iter().filter(renamed).count();
        pairs
    }

    /// Returns whether the model has exactly the tensors of the baseline.
    pub fn is_identical(&self) -> bool {
        self.changed.is_empty()
            && self.retyped.is_empty()
            && self.added.is_empty()
            && self.missing.is_empty()
    }
}
