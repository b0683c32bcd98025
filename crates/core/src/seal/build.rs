//! Making a seal: every byte of a model measured once, and the document of what was found.

use super::SCHEMA;
use super::distribution::{Distribution, distribution_of};
use super::document::{FileSeal, GapSeal, LinkSeal, ModelSeal, Seal, TensorSeal, root_text};
use super::root::{RootEntry, model_root};
use super::sketch::{self, WeightSketch};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tensorseal_base::hashing::{FileHashing, HashAlgorithm};
use tensorseal_engine::collect::ObjectMeasurement;
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::plan::{Object, ObjectKind, Plan};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{self as engine, RunError, RunOptions, RunReport};
use tensorseal_format::{Checkpoint, DirectoryLink, FileKind};

/// The digests of whole files that a seal can keep, on request.
pub const FILE_DIGESTS: [FileHashing; 2] = [
    FileHashing { algorithm: HashAlgorithm::Blake3, shard: None },
    FileHashing { algorithm: HashAlgorithm::Sha256, shard: None },
];

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
    measure_plan(model, &Plan::everything(model, distributions), options, progress)
}

/// As [`measure`], of a plan of [`Plan::everything`] to which [sketches](super::sketch::add_to) or digests
/// of files were added.
///
/// # Errors
/// See [`RunError`].
pub fn measure_plan(
    model: &Checkpoint,
    plan: &Plan,
    options: &RunOptions,
    progress: &Progress,
) -> Result<(Seal, RunReport), RunError> {
    let sealing = SealBuilder::new(model, plan, SealContents::default());
    let report =
        engine::run(&model.files, plan, options, progress, &|finished| sealing.add(&finished))?;
    let seal = sealing.finish(&report);
    Ok((seal, report))
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
    let sealing = SealBuilder::new(model, &plan, SealContents::default());
    engine::run(&model.files, &plan, options, progress, &|finished| sealing.add(&finished))?;
    let found =
        plan.objects.iter().zip(sealing.kept()).filter_map(|(object, kept)| match object.kind {
            ObjectKind::Tensor(index) => Some((index, kept.distribution?)),
            _ => None,
        });
    Ok(found.collect())
}

/// A seal while its model is being measured: what is kept of the objects of a plan.
pub struct SealBuilder<'a> {
    model: &'a Checkpoint,
    plan: &'a Plan,
    contents: SealContents,
    kept: Vec<Mutex<SealedObject>>,
}

/// What goes into a seal of what was measured, besides digests. A plan may measure more, for others.
#[derive(Debug, Clone, Copy)]
pub struct SealContents {
    /// Statistics, of tensors whose words or codes were counted.
    pub distributions: bool,
    /// Sketches: the sums of the plan's first key are those of [`sketch::KEY`].
    pub sketches: bool,
}

impl Default for SealContents {
    /// Everything.
    fn default() -> Self {
        Self { distributions: true, sketches: true }
    }
}

/// What is kept of a measured object.
#[derive(Debug, Default)]
struct SealedObject {
    digest: ChainingValue,
    blocks: Vec<ChainingValue>,
    distribution: Option<Distribution>,
    sketch: Option<WeightSketch>,
}

impl<'a> SealBuilder<'a> {
    /// Of `model`, when the objects of `plan` are measured: all of it.
    pub fn new(model: &'a Checkpoint, plan: &'a Plan, contents: SealContents) -> Self {
        let kept = plan.objects.iter().map(|_| Mutex::default()).collect();
        Self { model, plan, contents, kept }
    }

    /// Keeps what goes into the seal of an object.
    pub fn add(&self, finished: &ObjectMeasurement<'_>) {
        let distribution = match self.plan.objects[finished.object].kind {
            ObjectKind::Tensor(index) if self.contents.distributions => {
                distribution_of(self.model.tensors[index].dtype, finished)
            }
            _ => None,
        };
        *self.kept[finished.object].lock().unwrap_or_else(PoisonError::into_inner) = SealedObject {
            digest: finished.digest,
            blocks: finished.blocks.clone(),
            distribution,
            sketch: sketch::from_slots(&finished.slots).filter(|_| self.contents.sketches),
        };
    }

    /// Keeps the digests of an object that was measured before.
    pub fn add_stored(&self, object: usize, digest: ChainingValue, blocks: Vec<ChainingValue>) {
        *self.kept[object].lock().unwrap_or_else(PoisonError::into_inner) =
            SealedObject { digest, blocks, ..SealedObject::default() };
    }

    fn kept(self) -> impl Iterator<Item = SealedObject> {
        self.kept.into_iter().map(|kept| kept.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// The seal, when all objects were measured.
    pub fn finish(self, report: &RunReport) -> Seal {
        let (model, plan) = (self.model, self.plan);
        document(model, plan, self.kept(), report)
    }
}

fn document(
    model: &Checkpoint,
    plan: &Plan,
    kept: impl Iterator<Item = SealedObject>,
    report: &RunReport,
) -> Seal {
    let mut files: Vec<FileSeal> = model
        .model_files()
        .iter()
        .enumerate()
        .map(|(index, file)| {
            let digests = report.file_digests.get(index).and_then(Option::as_ref);
            let whole = |algorithm| digests?.whole(algorithm)?.try_into().ok();
            FileSeal {
                blake3: whole(HashAlgorithm::Blake3),
                bytes: file.bytes,
                outside: (file.kind == FileKind::Tensors).then(Vec::new),
                path: file.path.clone(),
                sha256: whole(HashAlgorithm::Sha256),
            }
        })
        .collect();
    let mut tensors = Vec::with_capacity(model.tensors.len());
    for (object, kept) in plan.objects.iter().zip(kept) {
        let Object { file, offset, bytes, .. } = *object;
        match object.kind {
            ObjectKind::SignedOnly(_) => {}
            ObjectKind::File(_) => files[file].blake3 = Some(kept.digest),
            ObjectKind::Gap(_) => {
                let outside = GapSeal { blake3: kept.digest, range: [offset, offset + bytes] };
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
                    strides: tensor.strides.clone(),
                });
            }
        }
    }
    // Byte order, as the document promises, whatever order the files were walked in.
    files.sort_by(|a, b| a.path.cmp(&b.path));
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let entries = tensors.iter().map(TensorSeal::root_entry);
    let link =
        |link: &DirectoryLink| LinkSeal { path: link.path.clone(), target: link.target.clone() };
    Seal {
        model: totals(model, entries),
        files,
        links: model.links.iter().map(link).collect(),
        schema: SCHEMA.to_owned(),
        tensors,
    }
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
                strides: tensor.strides.as_deref(),
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
        bytes: model.model_files().iter().map(|file| file.bytes).sum(),
        elements: tensors.clone().map(|t| t.stored_elements()).sum(),
        files: model.model_files().len() as u64,
        format: model.format_name().to_owned(),
        root: root_text(&model_root(tensors.clone())),
        tensors: tensors.len() as u64,
    }
}
