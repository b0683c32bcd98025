//! Tied weights: two names for the same bytes, of which a checkpoint may keep one.

use super::duplicates::{TensorLayoutKey, digest_duplicates, layout_key};
use super::pairing::Pairing;
use std::collections::{BTreeMap, HashMap, HashSet};
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_engine::stream::plan::Plan;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, RunOptions};
use tensorseal_format::{Checkpoint, Tensor};
use tensorseal_weights::Weights;

/// Bytes of a tensor that are looked at: weights that are all the same number are equal and not tied.
const SAMPLE_LEN: u64 = 4096;

/// The weights of one side that are alone and have the bytes of a weight that is paired: index of the one, and
/// of the pair. They are no longer alone.
///
/// # Errors
/// See [`RunError`].
pub fn find(
    model: &Checkpoint,
    weights: &Weights,
    pairing: &mut Pairing,
    side: usize,
    options: &RunOptions,
    progress: &Progress,
) -> Result<BTreeMap<usize, usize>, RunError> {
    let tensor = |index: usize| weights.readable[index].whole_tensor();
    let is_table =
        |index: &usize| model.tensors[*index].shape.iter().filter(|len| **len > 1).count() >= 2;
    let mut alone: Vec<(usize, usize)> =
        pairing.unpaired[side].iter().filter_map(|index| Some((*index, tensor(*index)?))).collect();
    alone.retain(|(_, tensor)| is_table(tensor));
    let layouts: HashSet<TensorLayoutKey<'_>> =
        alone.iter().map(|(_, tensor)| layout_key(&model.tensors[*tensor])).collect();
    let paired: Vec<(usize, usize)> = pairing
        .pairs
        .iter()
        .enumerate()
        .filter_map(|(at, pair)| Some((at, tensor([pair.first, pair.second][side])?)))
        .filter(|(_, tensor)| layouts.contains(&layout_key(&model.tensors[*tensor])))
        .collect();
    if alone.is_empty() || paired.is_empty() {
        return Ok(BTreeMap::new());
    }
    let candidates: Vec<usize> = alone.iter().chain(&paired).map(|(_, tensor)| *tensor).collect();
    let digests = digest_duplicates(model, &candidates, options, progress)?;
    let mut by_content: HashMap<(TensorLayoutKey<'_>, ChainingValue), usize> = HashMap::new();
    for (at, tensor) in paired.iter().rev() {
        if let Some(digest) = digests.get(tensor) {
            by_content.insert((layout_key(&model.tensors[*tensor]), *digest), *at);
        }
    }
    let mut tied = BTreeMap::new();
    for (index, tensor) in alone {
        let Some(digest) = digests.get(&tensor) else { continue };
        let Some(at) = by_content.get(&(layout_key(&model.tensors[tensor]), *digest)) else {
            continue;
        };
        if varies(model, tensor)? {
            tied.insert(index, *at);
        }
    }
    pairing.unpaired[side].retain(|index| !tied.contains_key(index));
    Ok(tied)
}

/// Whether the elements in the middle of a tensor are not all the same.
fn varies(model: &Checkpoint, index: usize) -> Result<bool, RunError> {
    let tensor: &Tensor = &model.tensors[index];
    let plan = Plan::from_tensors([(index, tensor)].into_iter());
    let files = FileSet::new(&model.files, &plan);
    // Blocks of quantised types begin with a scale: bytes that repeat are those of zeros.
    let width = u64::from(tensor.dtype.bits() / 8).max(1);
    let len = tensor.bytes.min(SAMPLE_LEN) / width * width;
    let middle = (tensor.bytes - len) / 2 / width * width;
    let mut sample = Vec::new();
    files.copy_into(tensor.file, tensor.offset + middle, len as usize, &mut sample)?;
    files.object_done(tensor.file)?;
    let mut elements = sample.chunks_exact(width as usize);
    let first = elements.next();
    Ok(elements.any(|element| Some(element) != first))
}
