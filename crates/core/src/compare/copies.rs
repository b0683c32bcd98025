//! Compares weights that one model holds in several formats.
//!
//! A repository often holds a model twice: as safetensors and in the format of PyTorch, or with a quantised form. Which
//! one is loaded depends on the loader, so a check of one says nothing about the other.

use super::duplicates::layout_key;
use super::pairing::{Pairing, WeightPair};
use super::{PairOutcome, compare_values};
use std::collections::{BTreeMap, HashMap};
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::Checkpoint;
use tensorseal_weights::{Weight, Weights};

/// A weight that a model holds in two formats.
#[derive(Debug)]
pub struct DuplicateWeight {
    /// The weight in the format that loaders prefer.
    pub first: Weight,
    /// The weight in the other format.
    pub second: Weight,
    /// The result of the comparison.
    pub outcome: PairOutcome,
}

/// Compares every weight that exists in several formats with the one that loaders prefer.
///
/// `digests` are those of the model's tensors, by index. The files must have been measured before.
///
/// # Errors
/// Returns a [`RunError`] if the weights cannot be read, or if the run was interrupted.
pub fn measure(
    model: &Checkpoint,
    digests: &HashMap<usize, ChainingValue>,
    threads: &Threads,
    progress: &Progress,
) -> Result<Vec<DuplicateWeight>, RunError> {
    if model.format.is_some() || model.tensors.is_empty() {
        return Ok(Vec::new());
    }
    let format = |weight: &Weight| {
        let index = weight.tensors().first().copied();
        index.and_then(|index| model.files[model.tensors[index].file].format)
    };
    let mut by_name: BTreeMap<String, Vec<Weight>> = BTreeMap::new();
    for weight in Weights::from_checkpoint(model).readable {
        by_name.entry(weight.canonical.clone()).or_default().push(weight);
    }
    let (mut firsts, mut seconds, mut pairing) = (Vec::new(), Vec::new(), Pairing::default());
    let mut same = Vec::new();
    for mut same_name in by_name.into_values() {
        same_name.sort_by_key(|weight| (format(weight), weight.name.clone()));
        let mut formats = same_name.into_iter();
        let Some(first) = formats.next() else { continue };
        let mut last_format = format(&first);
        for second in formats {
            // Several weights of one format are not copies. They may be parts of two models.
            if format(&second) == last_format {
                continue;
            }
            last_format = format(&second);
            let at = firsts.len();
            let same_shape = super::pairing::same_shape(&first, &second);
            pairing.pairs.push(WeightPair { first: at, second: at, same_shape });
            same.push(is_same(model, digests, [&first, &second]));
            firsts.push(first.clone());
            seconds.push(second);
        }
    }
    let weights =
        [firsts, seconds].map(|weights| Weights { readable: weights, unreadable: Vec::new() });
    let outcomes = compare_values([model, model], &weights, &pairing, &same, threads, progress)?;
    let [firsts, seconds] = weights.map(|weights| weights.readable);
    let copies = firsts.into_iter().zip(seconds).zip(outcomes);
    Ok(copies
        .map(|((first, second), outcome)| DuplicateWeight { first, second, outcome })
        .collect())
}

/// Returns whether two weights have the same type and the same bytes.
fn is_same(
    model: &Checkpoint,
    digests: &HashMap<usize, ChainingValue>,
    weights: [&Weight; 2],
) -> bool {
    let [Some(one), Some(other)] = weights.map(Weight::whole_tensor) else { return false };
    let [a, b] = [&model.tensors[one], &model.tensors[other]];
    let [digest_a, digest_b] = [digests.get(&one), digests.get(&other)];
    layout_key(a) == layout_key(b) && digest_a.is_some() && digest_a == digest_b
}
