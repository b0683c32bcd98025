//! Making a seal: every byte of a model measured once, and the document of what was found.

use super::SCHEMA;
use super::distribution::{Distribution, distribution_of};
use super::document::{FileSeal, ModelSeal, Outside, Seal, TensorSeal, root_text};
use super::root::{RootEntry, model_root};
use super::sketch::{self, Sketch};
use crate::checkpoint::{Checkpoint, FileKind};
use crate::engine::collect::Finished;
use crate::engine::{self, RunError, RunOptions, RunReport};
use crate::measure::digest::ChainingValue;
use crate::stream::plan::{Object, ObjectKind, Plan};
use crate::stream::progress::Progress;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What is kept of a measured object.
#[derive(Debug, Default)]
struct Kept {
    digest: ChainingValue,
    blocks: Vec<ChainingValue>,
    distribution: Option<Distribution>,
    sketch: Option<Sketch>,
}

/// Measures all of `model` and describes what was found as a seal document.
///
/// With `distributions` the statistics of every tensor are part of it. Tensors that do not fit
/// their file (a damaged model) are left out; [`Checkpoint::problems`] tells of them.
///
/// # Errors
/// See [`RunError`].
pub fn measure(
    model: &Checkpoint,
    distributions: bool,
    options: &RunOptions,
    progress: &Progress,
) -> Result<(Seal, RunReport), RunError> {
    let plan = Plan::everything(model, distributions);
    let (kept, report) = measure_plan(model, &plan, options, progress)?;
    Ok((document(model, &plan, kept, &report), report))
}

/// As [`measure`], with statistics, and the sketches of all large enough tensors.
///
/// # Errors
/// See [`RunError`].
pub fn measure_sketched(
    model: &Checkpoint,
    options: &RunOptions,
    progress: &Progress,
) -> Result<(Seal, RunReport), RunError> {
    let mut plan = Plan::everything(model, true);
    sketch::add_to(&mut plan, model);
    let (kept, report) = measure_plan(model, &plan, options, progress)?;
    Ok((document(model, &plan, kept, &report), report))
}

/// Measures the distribution of some tensors only, by their index.
///
/// # Errors
/// See [`RunError`].
pub fn distributions(
    model: &Checkpoint,
    tensors: &[usize],
    options: &RunOptions,
    progress: &Progress,
) -> Result<Vec<(usize, Distribution)>, RunError> {
    let mut plan = Plan::everything(model, true);
    plan.objects.retain(|o| matches!(o.kind, ObjectKind::Tensor(i) if tensors.contains(&i)));
    let (kept, _) = measure_plan(model, &plan, options, progress)?;
    let found = plan.objects.iter().zip(kept).filter_map(|(object, kept)| match object.kind {
        ObjectKind::Tensor(index) => Some((index, kept.distribution?)),
        _ => None,
    });
    Ok(found.collect())
}

fn measure_plan(
    model: &Checkpoint,
    plan: &Plan,
    options: &RunOptions,
    progress: &Progress,
) -> Result<(Vec<Kept>, RunReport), RunError> {
    let kept: Vec<Mutex<Kept>> = plan.objects.iter().map(|_| Mutex::default()).collect();
    let finish = |finished: Finished<'_>| {
        let distribution = match plan.objects[finished.object].kind {
            ObjectKind::Tensor(index) => distribution_of(model.tensors[index].dtype, &finished),
            _ => None,
        };
        let (digest, blocks) = (finished.digest, finished.blocks);
        *kept[finished.object].lock().unwrap_or_else(PoisonError::into_inner) =
            Kept { digest, blocks, distribution, sketch: sketch::of(&finished.slots) };
    };
    let report = engine::run(&model.files, plan, options, progress, &finish)?;
    let kept =
        kept.into_iter().map(|kept| kept.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok((kept.collect(), report))
}

fn document(model: &Checkpoint, plan: &Plan, kept: Vec<Kept>, report: &RunReport) -> Seal {
    let mut files: Vec<FileSeal> = model
        .files
        .iter()
        .enumerate()
        .map(|(index, file)| {
            let digests = report.file_digests.get(index).copied().flatten();
            FileSeal {
                blake3: digests.map(|digests| digests.blake3),
                bytes: file.bytes,
                outside: (file.kind == FileKind::Tensors).then(Vec::new),
                path: file.path.clone(),
                sha256: digests.map(|digests| digests.sha256),
            }
        })
        .collect();
    let mut tensors = Vec::with_capacity(model.tensors.len());
    for (object, kept) in plan.objects.iter().zip(kept) {
        let Object { file, offset, bytes, .. } = *object;
        match object.kind {
            ObjectKind::File(_) => files[file].blake3 = Some(kept.digest),
            ObjectKind::Outside(_) => {
                let outside = Outside { blake3: kept.digest, range: [offset, offset + bytes] };
                files[file].outside.get_or_insert_default().push(outside);
            }
            ObjectKind::Tensor(index) => {
                let tensor = &model.tensors[index];
                tensors.push(TensorSeal {
                    blake3: kept.digest,
                    blocks: kept.blocks,
                    bytes,
                    distribution: kept.distribution,
                    dtype: tensor.dtype,
                    file: model.files[file].path.clone(),
                    name: tensor.name.clone(),
                    offset,
                    shape: tensor.shape.clone(),
                    sketch: kept.sketch,
                });
            }
        }
    }
    // Byte order, as the document promises, whatever order the files were walked in.
    files.sort_by(|a, b| a.path.cmp(&b.path));
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let entries = tensors.iter().map(TensorSeal::root_entry);
    Seal { model: totals(model, entries), files, schema: SCHEMA.to_owned(), tensors }
}

/// The model as a whole, given the digests of its tensors by their index. Tensors without a digest are
/// left out, as in a seal.
pub fn model_seal(model: &Checkpoint, digests: &HashMap<usize, ChainingValue>) -> ModelSeal {
    let mut tensors: Vec<RootEntry<'_>> = model
        .tensors
        .iter()
        .enumerate()
        .filter_map(|(index, tensor)| {
            let digest = digests.get(&index)?;
            Some(RootEntry {
                name: &tensor.name,
                dtype: tensor.dtype,
                shape: &tensor.shape,
                digest,
            })
        })
        .collect();
    tensors.sort_by_key(|entry| entry.name);
    totals(model, tensors.into_iter())
}

fn totals<'a>(
    model: &Checkpoint,
    tensors: impl ExactSizeIterator<Item = RootEntry<'a>> + Clone,
) -> ModelSeal {
    ModelSeal {
        bytes: model.files.iter().map(|file| file.bytes).sum(),
        elements: tensors.clone().map(|t| t.shape.iter().product::<u64>()).sum(),
        files: model.files.len() as u64,
        format: model.format_name().to_owned(),
        root: root_text(&model_root(tensors.clone())),
        tensors: tensors.len() as u64,
    }
}
