//! Pairs weights in an unknown layout with weights of another model, and finds those that are identical byte for byte.

use super::duplicates::layout_key;
use super::pairing::Pairing;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_format::Checkpoint;
use tensorseal_weights::{UnreadableWeight, Weights};

/// A weight that cannot be read in at least one of two models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnreadablePair {
    /// The index in [`Weights::unreadable`], for each model in which the weight cannot be read.
    pub unreadable: [Option<usize>; 2],
    /// The index in [`Weights::readable`], for a model in which the weight can be read.
    pub readable: [Option<usize>; 2],
    /// Whether both models have all tensors of the weight, with the same types and shapes.
    pub is_alike: bool,
    /// Whether these tensors also have the same bytes.
    pub is_identical: bool,
}

/// Pairs unreadable weights by name: first by the name of their codes, then with weights that the codes may represent.
/// Weights that are paired this way are removed from `pairing.unpaired`.
pub fn pair(
    models: [&Checkpoint; 2],
    weights: &[Weights; 2],
    pairing: &mut Pairing,
) -> Vec<UnreadablePair> {
    let mut remaining = [0, 1]
        .map(|side: usize| -> BTreeSet<usize> { (0..weights[side].unreadable.len()).collect() });
    let mut pairs = Vec::new();
    let name = |side: usize, index: usize| {
        models[side].tensors[weights[side].unreadable[index].tensor].name.as_str()
    };
    let names = [0, 1].map(|side: usize| -> Vec<Vec<String>> {
        weights[side]
            .unreadable
            .iter()
            .map(|unreadable| unreadable.canonical_names(models[side]))
            .collect()
    });
    // First the same codes: by name, then by canonical name.
    type Key<'k> = Box<dyn Fn(usize, usize) -> &'k str + 'k>;
    let keys: [Key<'_>; 2] = [
        Box::new(name),
        Box::new(|side, index| names[side][index].first().map_or("", String::as_str)),
    ];
    for key in keys {
        let by_key: HashMap<&str, usize> =
            remaining[1].iter().rev().map(|index| (key(1, *index), *index)).collect();
        for first in remaining[0].clone() {
            let Some(second) = by_key.get(key(0, first)).copied() else { continue };
            if !remaining[1].remove(&second) {
                continue;
            }
            remaining[0].remove(&first);
            let both = [&weights[0].unreadable[first], &weights[1].unreadable[second]];
            pairs.push(UnreadablePair {
                unreadable: [Some(first), Some(second)],
                is_alike: matching_tensors(models, both).is_some(),
                ..UnreadablePair::default()
            });
        }
    }
    // Then readable weights of the other model, and other codes that represent the same weight.
    for side in [0, 1] {
        let other = 1 - side;
        let mut unpaired = pairing.unpaired_by_name(weights, other);
        let mut paired = BTreeSet::new();
        for index in remaining[side].clone() {
            let mut names = names[side][index].iter();
            let Some(readable) = names.find_map(|name| unpaired.remove(name.as_str())) else {
                continue;
            };
            let mut pair = UnreadablePair::default();
            (pair.unreadable[side], pair.readable[other]) = (Some(index), Some(readable));
            pairs.push(pair);
            remaining[side].remove(&index);
            paired.insert(readable);
        }
        pairing.unpaired[other].retain(|index| !paired.contains(index));
    }
    let mut others: HashMap<&str, usize> = HashMap::new();
    for index in remaining[1].iter().rev() {
        others.extend(names[1][*index].iter().map(|name| (name.as_str(), *index)));
    }
    for first in remaining[0].clone() {
        let candidates =
            names[0][first].iter().filter_map(|name| others.get(name.as_str()).copied());
        let second = candidates.into_iter().find(|second| remaining[1].contains(second));
        second.inspect(|second| _ = remaining[1].remove(second));
        pairs.push(UnreadablePair {
            unreadable: [Some(first), second],
            ..UnreadablePair::default()
        });
    }
    for second in &remaining[1] {
        pairs.push(UnreadablePair {
            unreadable: [None, Some(*second)],
            ..UnreadablePair::default()
        });
    }
    pairs.sort_by_key(|pair| (pair.unreadable[0].or(pair.readable[0]).is_none(), pair.unreadable));
    pairs
}

/// Returns the pairs of tensors of two unreadable weights, or `None` unless both weights have tensors of the same names,
/// types, shapes and strides.
pub fn matching_tensors(
    models: [&Checkpoint; 2],
    both: [&UnreadableWeight; 2],
) -> Option<Vec<[usize; 2]>> {
    let [one, other] = [0, 1].map(|side: usize| -> BTreeMap<&str, usize> {
        let named = |index: usize| (models[side].tensors[index].name.as_str(), index);
        both[side].tensors().map(named).collect()
    });
    let pair = |(name, first): (&&str, &usize)| {
        let second = other.get(name)?;
        let [a, b] = [&models[0].tensors[*first], &models[1].tensors[*second]];
        (layout_key(a) == layout_key(b)).then_some([*first, *second])
    };
    (one.len() == other.len()).then(|| one.iter().map(pair).collect()).flatten()
}

/// Sets [`UnreadablePair::is_identical`] of the pairs that have the same bytes.
pub fn set_identical(
    models: [&Checkpoint; 2],
    weights: &[Weights; 2],
    pairs: &mut [UnreadablePair],
    digests: [&HashMap<usize, ChainingValue>; 2],
) {
    for pair in pairs.iter_mut().filter(|pair| pair.is_alike) {
        let [Some(first), Some(second)] = pair.unreadable else { continue };
        let tensors = matching_tensors(
            models,
            [&weights[0].unreadable[first], &weights[1].unreadable[second]],
        );
        let same = |[one, other]: &[usize; 2]| {
            let one = digests[0].get(one);
            one.is_some() && one == digests[1].get(other)
        };
        pair.is_identical = tensors.is_some_and(|tensors| tensors.iter().all(same));
    }
}
