//! Builds a seal: measures every byte of a model once, and creates the document.

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

/// The digests of whole files that a seal has on request.
pub const FILE_DIGESTS: [FileHashing; 2] = [
    FileHashing { algorithm: HashAlgorithm::Blake3, shard: None },
    FileHashing { algorithm: HashAlgorithm::Sha256, shard: None },
];

/// Measures all of `model` and returns the measurement as a seal.
///
/// With `distributions` the seal has the statistics of every tensor. Tensors of a damaged model that do not fit their
/// file are left out; [`Checkpoint::problems`] reports them.
///
/// # Errors
/// Returns a [`RunError`] if the model cannot be read, changed while it was read, or the run was interrupted.
pub fn measure(
    model: &Checkpoint,
    distributions: bool,
    options: &RunOptions,
    progress: &Progress,
) -> Result<(Seal, RunReport), RunError> {
    measure_plan(model, &Plan::everything(model, distributions), options, progress)
}

/// Measures `model` like [`measure`], with a plan of [`Plan::everything`] to which [sketches](super::sketch::add_to) or
/// digests of files were added.
///
/// # Errors
/// Returns a [`RunError`] if the model cannot be read, changed while it was read, or the run was interrupted.
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

/// Measures the distributions of some tensors only, given and returned by index.
///
/// # Errors
/// Returns a [`RunError`] if the model cannot be read, changed while it was read, or the run was interrupted.
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
    let distributions =
        plan.objects.iter().zip(sealing.into_objects()).filter_map(|(object, sealed)| match object
            .kind
        {
            ObjectKind::Tensor(index) => Some((index, sealed.distribution?)),
            _ => None,
        });
    Ok(distributions.collect())
}

/// Collects the objects of a seal while its model is being measured.
pub struct SealBuilder<'a> {
    model: &'a Checkpoint,
    plan: &'a Plan,
    contents: SealContents,
    objects: Vec<Mutex<SealedObject>>,
}

/// Which measurements go into a seal besides digests. A plan may measure more for other purposes.
#[derive(Debug, Clone, Copy)]
pub struct SealContents {
    /// Whether tensors get statistics, if their words or codes were counted.
    pub distributions: bool,
    /// Whether tensors get sketches. The first key of the plan must be [`sketch::KEY`] then.
    pub sketches: bool,
}

impl Default for SealContents {
    /// Returns contents with everything.
    fn default() -> Self {
        Self { distributions: true, sketches: true }
    }
}

/// The parts of a measured object that go into the seal.
#[derive(Debug, Default)]
struct SealedObject {
    digest: ChainingValue,
    blocks: Vec<ChainingValue>,
    distribution: Option<Distribution>,
    sketch: Option<WeightSketch>,
}

impl<'a> SealBuilder<'a> {
    /// Creates a builder for `model`. `plan` must cover the whole model.
    pub fn new(model: &'a Checkpoint, plan: &'a Plan, contents: SealContents) -> Self {
        let objects = plan.objects.iter().map(|_| Mutex::default()).collect();
        Self { model, plan, contents, objects }
    }

    /// Adds a measured object.
    pub fn add(&self, finished: &ObjectMeasurement<'_>) {
        let distribution = match self.plan.objects[finished.object].kind {
            ObjectKind::Tensor(index) if self.contents.distributions => {
                distribution_of(self.model.tensors[index].dtype, finished)
            }
            _ => None,
        };
        *self.objects[finished.object].lock().unwrap_or_else(PoisonError::into_inner) =
            SealedObject {
                digest: finished.digest,
                blocks: finished.blocks.clone(),
                distribution,
                sketch: sketch::from_slots(&finished.slots).filter(|_| self.contents.sketches),
            };
    }

    /// Adds the digests of an object that an earlier run stored.
    pub fn add_stored(&self, object: usize, digest: ChainingValue, blocks: Vec<ChainingValue>) {
        *self.objects[object].lock().unwrap_or_else(PoisonError::into_inner) =
            SealedObject { digest, blocks, ..SealedObject::default() };
    }

    fn into_objects(self) -> impl Iterator<Item = SealedObject> {
        self.objects
            .into_iter()
            .map(|object| object.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the seal after all objects were added.
    pub fn finish(self, report: &RunReport) -> Seal {
        let (model, plan) = (self.model, self.plan);
        document(model, plan, self.into_objects(), report)
    }
}

fn document(
    model: &Checkpoint,
    plan: &Plan,
    objects: impl Iterator<Item = SealedObject>,
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
    for (object, sealed) in plan.objects.iter().zip(objects) {
        let Object { file, offset, bytes, .. } = *object;
        match object.kind {
            ObjectKind::SignedOnly(_) => {}
            ObjectKind::File(_) => files[file].blake3 = Some(sealed.digest),
            ObjectKind::Gap(_) => {
                let outside = GapSeal { blake3: sealed.digest, range: [offset, offset + bytes] };
                files[file].outside.get_or_insert_default().push(outside);
            }
            ObjectKind::Tensor(index) => {
                let tensor = &model.tensors[index];
                tensors.push(TensorSeal {
                    blake3: sealed.digest,
                    blocks: sealed.blocks,
                    bytes,
                    distribution: sealed.distribution,
                    dtype: tensor.dtype,
                    file: model.files[file].path.clone(),
                    name: tensor.name.clone(),
                    offset,
                    shape: tensor.shape.clone(),
                    sketch: sealed.sketch,
                    strides: tensor.strides.clone(),
                });
            }
        }
    }
    // The document is in byte order, whatever the order of the directory listing was.
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

/// Returns the totals and the root of a model, from the digests of its tensors by index. Tensors without a digest are
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
