//! Tensors that have the same bytes: digests of some, and of one model those that may be tied. Only what may be equal is
//! read whole.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::files::FileSet;
use tensorseal_engine::stream::plan::{ObjectKind, Plan};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{self as engine, RunError, RunOptions, RunReport};
use tensorseal_format::{Checkpoint, Tensor};

/// Bytes in the middle of a tensor that are looked at to find those that may be equal.
const SAMPLE_LEN: u64 = 4096;

/// Type, dimensions and strides: tensors that have these and their bytes in common are equal.
pub type TensorLayoutKey<'a> = (&'a str, &'a [u64], Option<&'a [u64]>);

/// Those of a tensor.
pub fn layout_key(tensor: &Tensor) -> TensorLayoutKey<'_> {
    (tensor.dtype.name(), &tensor.shape, tensor.strides.as_deref())
}

/// Digests of those tensors, of some by index, that have type, dimensions and middle in common with another.
///
/// # Errors
/// See [`RunError`].
pub fn digest_duplicates(
    model: &Checkpoint,
    candidates: &[usize],
    options: &RunOptions,
    progress: &Progress,
) -> Result<HashMap<usize, ChainingValue>, RunError> {
    let mut alike: HashMap<TensorLayoutKey<'_>, Vec<usize>> = HashMap::new();
    for index in candidates {
        let tensor = &model.tensors[*index];
        alike.entry(layout_key(tensor)).or_default().push(*index);
    }
    alike.retain(|_, tensors| tensors.len() > 1);
    let wanted: BTreeSet<usize> = alike.values().flatten().copied().collect();
    let plan = Plan::from_tensors(wanted.iter().map(|index| (*index, &model.tensors[*index])));
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
    let mut same: BTreeSet<usize> = BTreeSet::new();
    for tensors in alike.values() {
        let mut seen: HashMap<blake3::Hash, usize> = HashMap::new();
        for index in tensors {
            let Some(sample) = samples.get(index) else { continue };
            if let Some(first) = seen.insert(*sample, *index) {
                same.extend([first, *index]);
            }
        }
    }
    if same.is_empty() {
        return Ok(HashMap::new());
    }
    digests(model, &same, options, progress).map(|(digests, _)| digests)
}

/// The digests of some tensors.
pub(super) fn digests(
    model: &Checkpoint,
    wanted: &BTreeSet<usize>,
    options: &RunOptions,
    progress: &Progress,
) -> Result<(HashMap<usize, ChainingValue>, RunReport), RunError> {
    let plan = Plan::from_tensors(wanted.iter().map(|index| (*index, &model.tensors[*index])));
    let digests: Mutex<HashMap<usize, ChainingValue>> = Mutex::default();
    let run = engine::run(&model.files, &plan, options, progress, &|finished| {
        if let ObjectKind::Tensor(index) = plan.objects[finished.object].kind {
            let mut digests = digests.lock().unwrap_or_else(PoisonError::into_inner);
            digests.insert(index, finished.digest);
        }
    })?;
    Ok((digests.into_inner().unwrap_or_else(PoisonError::into_inner), run))
}
