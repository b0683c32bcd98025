//! Finds tied weights: two names for the same content, of which a checkpoint may store only one.

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

/// The number of bytes of a tensor that are checked for variation: equal constant tensors are not tied.
const SAMPLE_LEN: u64 = 4096;

/// Finds the unpaired weights of one model that have the bytes of a paired weight, and removes them from
/// `pairing.unpaired`. Returns the index of each such weight and the index of the pair.
///
/// # Errors
/// Returns a [`RunError`] if the model cannot be read, or if the run was interrupted.
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
    let mut unpaired: Vec<(usize, usize)> =
        pairing.unpaired[side].iter().filter_map(|index| Some((*index, tensor(*index)?))).collect();
    unpaired.retain(|(_, tensor)| is_table(tensor));
    let layouts: HashSet<TensorLayoutKey<'_>> =
        unpaired.iter().map(|(_, tensor)| layout_key(&model.tensors[*tensor])).collect();
    let paired: Vec<(usize, usize)> = pairing
        .pairs
        .iter()
        .enumerate()
        .filter_map(|(at, pair)| Some((at, tensor([pair.first, pair.second][side])?)))
        .filter(|(_, tensor)| layouts.contains(&layout_key(&model.tensors[*tensor])))
        .collect();
    if unpaired.is_empty() || paired.is_empty() {
        return Ok(BTreeMap::new());
    }
    let candidates: Vec<usize> =
        unpaired.iter().chain(&paired).map(|(_, tensor)| *tensor).collect();
    let digests = digest_duplicates(model, &candidates, options, progress)?;
    let mut by_content: HashMap<(TensorLayoutKey<'_>, ChainingValue), usize> = HashMap::new();
    for (at, tensor) in paired.iter().rev() {
        if let Some(digest) = digests.get(tensor) {
            by_content.insert((layout_key(&model.tensors[*tensor]), *digest), *at);
        }
    }
    let mut tied = BTreeMap::new();
    for (index, tensor) in unpaired {
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

/// Returns whether the elements in the middle of a tensor differ from one another.
fn varies(model: &Checkpoint, index: usize) -> Result<bool, RunError> {
    let tensor: &Tensor = &model.tensors[index];
    let plan = Plan::from_tensors([(index, tensor)].into_iter());
    let files = FileSet::new(&model.files, &plan);
    // Quantisation blocks begin with a scale, so only zeros make repeated bytes.
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
