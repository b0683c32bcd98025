//! Pairs tensors of which only the name and the file are known, because the file's format cannot be read. They are
//! identical in two models if their files are, byte for byte.

use super::pairing::Pairing;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::plan::{Object, ObjectKind, Plan};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{self as engine, RunError, RunOptions};
use tensorseal_format::Checkpoint;
use tensorseal_format::canonical::canonical_name;
use tensorseal_weights::Weights;

/// A tensor of which at least one of two models only has the name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameOnlyTensor {
    /// The name in each model that only has the name.
    pub names: [Option<String>; 2],
    /// The index in [`Weights::readable`] of the weight in a model that can be read.
    pub readable: [Option<usize>; 2],
    /// Whether the tensor lies in files that are identical in both models.
    pub is_identical: bool,
}

/// Pairs these tensors by their names, and then with unpaired weights of the other model, which are removed from
/// `pairing.unpaired`. Files that may be identical are read completely.
///
/// # Errors
/// Returns a [`RunError`] if a file cannot be read, or if the run was interrupted.
pub fn pair(
    models: [&Checkpoint; 2],
    weights: &[Weights; 2],
    pairing: &mut Pairing,
    options: &RunOptions,
    progress: &Progress,
) -> Result<Vec<NameOnlyTensor>, RunError> {
    let named = models.map(|model| model.unread_tensors().collect::<Vec<_>>());
    let digests = digests(models, &named, options, progress)?;
    let canonical = named.each_ref().map(|names| -> Vec<String> {
        names.iter().map(|(_, name)| canonical_name(name).into_owned()).collect()
    });
    let mut remaining =
        named.each_ref().map(|names| -> BTreeSet<usize> { (0..names.len()).collect() });
    let mut pairs = Vec::with_capacity(named[0].len());
    // As for other weights: by name first, then by canonical name.
    for is_canonical in [false, true] {
        let key = |side: usize, at: usize| match is_canonical {
            true => canonical[side][at].as_str(),
            false => named[side][at].1,
        };
        let mut by_key: HashMap<&str, usize> =
            remaining[1].iter().rev().map(|at| (key(1, *at), *at)).collect();
        for first in remaining[0].clone() {
            let Some(second) = by_key.remove(key(0, first)) else { continue };
            let tensors = [named[0][first], named[1][second]];
            let digest = |side: usize| digests[side].get(&tensors[side].0);
            pairs.push(NameOnlyTensor {
                names: tensors.map(|(_, name)| Some(name.to_owned())),
                is_identical: digest(0).is_some() && digest(0) == digest(1),
                ..NameOnlyTensor::default()
            });
            remaining[0].remove(&first);
            remaining[1].remove(&second);
        }
    }
    for side in [0, 1] {
        let other = 1 - side;
        let mut unpaired = pairing.unpaired_by_name(weights, other);
        let mut paired = BTreeSet::new();
        for at in &remaining[side] {
            let mut pair = NameOnlyTensor::default();
            pair.names[side] = Some(named[side][*at].1.to_owned());
            pair.readable[other] = unpaired.remove(canonical[side][*at].as_str());
            paired.extend(pair.readable[other]);
            pairs.push(pair);
        }
        pairing.unpaired[other].retain(|index| !paired.contains(index));
    }
    Ok(pairs)
}

/// Returns the digests, by index, of the files with these tensors that have the same length as one of the other model.
fn digests(
    models: [&Checkpoint; 2],
    named: &[Vec<(usize, &str)>; 2],
    options: &RunOptions,
    progress: &Progress,
) -> Result<[HashMap<usize, ChainingValue>; 2], RunError> {
    let files = named
        .each_ref()
        .map(|named| -> BTreeSet<usize> { named.iter().map(|(file, _)| *file).collect() });
    let bytes = |side: usize, file: &usize| models[side].files[*file].bytes;
    let lengths = [0, 1].map(|side: usize| -> BTreeSet<u64> {
        files[side].iter().map(|file| bytes(side, file)).collect()
    });
    let mut found = [HashMap::new(), HashMap::new()];
    for (side, found) in found.iter_mut().enumerate() {
        let selected =
            files[side].iter().filter(|file| lengths[1 - side].contains(&bytes(side, file)));
        let object = |file: &usize| {
            Object::digest_only(ObjectKind::File(*file), *file, 0, bytes(side, file))
        };
        let plan = Plan { objects: selected.map(object).collect(), ..Plan::default() };
        if plan.objects.is_empty() {
            continue;
        }
        let digests: Mutex<&mut HashMap<usize, ChainingValue>> = Mutex::new(found);
        engine::run(&models[side].files, &plan, options, progress, &|finished| {
            let mut digests = digests.lock().unwrap_or_else(PoisonError::into_inner);
            digests.insert(plan.objects[finished.object].file, finished.digest);
        })?;
    }
    Ok(found)
}
