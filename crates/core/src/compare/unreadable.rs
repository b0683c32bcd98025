//! Weights of two models that nobody here can read: which of them are the same, byte for byte, and which weight of
//! the other model each stands for.

use super::duplicates::layout_key;
use super::pairing::Pairing;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_format::Checkpoint;
use tensorseal_weights::{UnreadableWeight, Weights};

/// A weight of either model or of both that cannot be read in one of them at least.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnreadablePair {
    /// Its index in [`Weights::unreadable`] of each side that cannot be read.
    pub unreadable: [Option<usize>; 2],
    /// Where the other side can be read: its index in [`Weights::weights`].
    pub readable: [Option<usize>; 2],
    /// Whether all its tensors are there in both, with the same types and shapes.
    pub is_alike: bool,
    /// Whether they have the same bytes, too.
    pub is_identical: bool,
}

/// Pairs what cannot be read by names: of the codes, then of the weights that they may stand for. Weights that
/// are paired so are no longer alone.
pub fn pair(
    models: [&Checkpoint; 2],
    weights: &[Weights; 2],
    pairing: &mut Pairing,
) -> Vec<UnreadablePair> {
    let mut left = [0, 1]
        .map(|side: usize| -> BTreeSet<usize> { (0..weights[side].unreadable.len()).collect() });
    let mut pairs = Vec::new();
    let name = |side: usize, index: usize| {
        models[side].tensors[weights[side].unreadable[index].tensor].name.as_str()
    };
    let names = [0, 1].map(|side: usize| -> Vec<Vec<String>> {
        weights[side].unreadable.iter().map(|unread| unread.canonical_names(models[side])).collect()
    });
    // The same codes first: what they are called, and what that is canonically.
    type Key<'k> = Box<dyn Fn(usize, usize) -> &'k str + 'k>;
    let keys: [Key<'_>; 2] = [
        Box::new(name),
        Box::new(|side, index| names[side][index].first().map_or("", String::as_str)),
    ];
    for key in keys {
        let places: HashMap<&str, usize> =
            left[1].iter().rev().map(|index| (key(1, *index), *index)).collect();
        for first in left[0].clone() {
            let Some(second) = places.get(key(0, first)).copied() else { continue };
            if !left[1].remove(&second) {
                continue;
            }
            left[0].remove(&first);
            let both = [&weights[0].unreadable[first], &weights[1].unreadable[second]];
            pairs.push(UnreadablePair {
                unreadable: [Some(first), Some(second)],
                is_alike: matching_tensors(models, both).is_some(),
                ..UnreadablePair::default()
            });
        }
    }
    // Then the weights that the other model has as they are, and codes that stand for the same weight.
    for side in [0, 1] {
        let other = 1 - side;
        let mut alone = pairing.unpaired_by_name(weights, other);
        let mut taken = BTreeSet::new();
        for index in left[side].clone() {
            let mut names = names[side][index].iter();
            let Some(found) = names.find_map(|name| alone.remove(name.as_str())) else { continue };
            let mut pair = UnreadablePair::default();
            (pair.unreadable[side], pair.readable[other]) = (Some(index), Some(found));
            pairs.push(pair);
            left[side].remove(&index);
            taken.insert(found);
        }
        pairing.unpaired[other].retain(|index| !taken.contains(index));
    }
    let mut others: HashMap<&str, usize> = HashMap::new();
    for index in left[1].iter().rev() {
        others.extend(names[1][*index].iter().map(|name| (name.as_str(), *index)));
    }
    for first in left[0].clone() {
        let found = names[0][first].iter().filter_map(|name| others.get(name.as_str()).copied());
        let second = found.into_iter().find(|second| left[1].contains(second));
        second.inspect(|second| _ = left[1].remove(second));
        pairs.push(UnreadablePair {
            unreadable: [Some(first), second],
            ..UnreadablePair::default()
        });
    }
    for second in &left[1] {
        pairs.push(UnreadablePair {
            unreadable: [None, Some(*second)],
            ..UnreadablePair::default()
        });
    }
    pairs.sort_by_key(|pair| (pair.unreadable[0].or(pair.readable[0]).is_none(), pair.unreadable));
    pairs
}

/// The tensors of two unread weights side by side, if both have the same: names, types, shapes and layouts.
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

/// Notes which pairs have the same bytes.
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
