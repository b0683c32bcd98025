//! The same weights in several formats in one model: are they the same?
//!
//! A repository often holds a model twice, as safetensors and as what PyTorch saved, or beside its
//! quantised form. Which of them is loaded depends on the loader, so whoever checked one has not checked
//! the other.

use super::duplicates::layout_key;
use super::pairing::{Pairing, WeightPair};
use super::{PairOutcome, values};
use std::collections::{BTreeMap, HashMap};
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::Checkpoint;
use tensorseal_weights::{Weight, Weights};

/// A weight that a model holds in two formats.
#[derive(Debug)]
pub struct DuplicateWeight {
    /// In the format that loaders prefer.
    pub first: Weight,
    /// In another.
    pub second: Weight,
    /// What became of the pair.
    pub outcome: PairOutcome,
}

/// Puts every weight that is there in several formats beside the one that loaders prefer. `digests`: of
/// the model's tensors, by index; the files must have been measured by now.
///
/// # Errors
/// See [`RunError`].
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
    for mut together in by_name.into_values() {
        together.sort_by_key(|weight| (format(weight), weight.name.clone()));
        let mut formats = together.into_iter();
        let Some(first) = formats.next() else { continue };
        let mut seen = format(&first);
        for second in formats {
            // Several of one format are no copies: parts of two models, say.
            if format(&second) == seen {
                continue;
            }
            seen = format(&second);
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
    let outcomes = values([model, model], &weights, &pairing, &same, threads, progress)?;
    let [firsts, seconds] = weights.map(|weights| weights.readable);
    let copies = firsts.into_iter().zip(seconds).zip(outcomes);
    Ok(copies
        .map(|((first, second), outcome)| DuplicateWeight { first, second, outcome })
        .collect())
}

/// Whether two weights are the same bytes of the same type.
fn is_same(
    model: &Checkpoint,
    digests: &HashMap<usize, ChainingValue>,
    weights: [&Weight; 2],
) -> bool {
    let [Some(one), Some(other)] = weights.map(Weight::whole_tensor) else { return false };
    let [a, b] = [&model.tensors[one], &model.tensors[other]];
    let [of_a, of_b] = [digests.get(&one), digests.get(&other)];
    layout_key(a) == layout_key(b) && of_a.is_some() && of_a == of_b
}
