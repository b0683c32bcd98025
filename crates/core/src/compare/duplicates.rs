//! Digests of those tensors of a model that may be equal to one another. Only candidates are read completely.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_engine::stream::plan::{ObjectKind, Plan};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{self as engine, RunError, RunOptions, RunReport};
use tensorseal_format::{Checkpoint, Tensor};

/// The number of bytes in the middle of a tensor that are compared to find candidates.
const SAMPLE_LEN: u64 = 4096;

/// Type, dimensions and strides. Tensors that have these and their bytes in common are equal.
pub type TensorLayoutKey<'a> = (&'a str, &'a [u64], Option<&'a [u64]>);

/// Returns the type, dimensions and strides of a tensor.
pub fn layout_key(tensor: &Tensor) -> TensorLayoutKey<'_> {
    (tensor.dtype.name(), &tensor.shape, tensor.strides.as_deref())
}

/// Returns the digests, by index, of those candidates that have type, dimensions and middle bytes in common with
/// another candidate.
///
/// # Errors
/// Returns a [`RunError`] if the tensors cannot be read, or if the run was interrupted.
pub fn digest_duplicates(
    model: &Checkpoint,
    candidates: &[usize],
    options: &RunOptions,
    progress: &Progress,
) -> Result<HashMap<usize, ChainingValue>, RunError> {
    let mut by_layout: HashMap<TensorLayoutKey<'_>, Vec<usize>> = HashMap::new();
    for index in candidates {
        let tensor = &model.tensors[*index];
        by_layout.entry(layout_key(tensor)).or_default().push(*index);
    }
    by_layout.retain(|_, tensors| tensors.len() > 1);
    let selected: BTreeSet<usize> = by_layout.values().flatten().copied().collect();
    let plan = Plan::from_tensors(selected.iter().map(|index| (*index, &model.tensors[*index])));
    let mut samples: HashMap<usize, blake3::Hash> = HashMap::new();
    {
        let files = FileSet::new(&model.files, &plan);
        for object in &plan.objects {
            let ObjectKind::Tensor(index) = object.kind else { continue };
            if progress.stopped() {
                return Err(RunError::Interrupted);
            }
            let len = object.bytes.min(SAMPLE_LEN);
            let middle = object.offset + (object.bytes - len) / 2;
            let mut hasher = blake3::Hasher::new();
            let mut sink = |bytes: &[u8]| {
                hasher.update(bytes);
            };
            files
                .source(object.file)?
                .read(middle, len as usize, &mut sink)
                .map_err(|error| files.name_error(object.file, error))?;
            files.object_done(object.file)?;
            samples.insert(index, hasher.finalize());
        }
    }
    let mut duplicates: BTreeSet<usize> = BTreeSet::new();
    for tensors in by_layout.values() {
        let mut by_sample: HashMap<blake3::Hash, usize> = HashMap::new();
        for index in tensors {
            let Some(sample) = samples.get(index) else { continue };
            if let Some(first) = by_sample.insert(*sample, *index) {
                duplicates.extend([first, *index]);
            }
        }
    }
    if duplicates.is_empty() {
        return Ok(HashMap::new());
    }
    digests(model, &duplicates, options, progress).map(|(digests, _)| digests)
}

/// Returns the digests of some tensors, by index.
pub(super) fn digests(
    model: &Checkpoint,
    selected: &BTreeSet<usize>,
    options: &RunOptions,
    progress: &Progress,
) -> Result<(HashMap<usize, ChainingValue>, RunReport), RunError> {
    let plan = Plan::from_tensors(selected.iter().map(|index| (*index, &model.tensors[*index])));
    let digests: Mutex<HashMap<usize, ChainingValue>> = Mutex::default();
    let run = engine::run(&model.files, &plan, options, progress, &|finished| {
        if let ObjectKind::Tensor(index) = plan.objects[finished.object].kind {
            let mut digests = digests.lock().unwrap_or_else(PoisonError::into_inner);
            digests.insert(index, finished.digest);
        }
    })?;
    Ok((digests.into_inner().unwrap_or_else(PoisonError::into_inner), run))
}
