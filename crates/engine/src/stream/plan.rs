//! The objects that a run measures (tensors, gaps, whole files), in file order.

use crate::measure::chips::ChipKey;
use crate::measure::correlation::{Carrier, ElementFormat};
use crate::measure::structure::StructureLayout;
use crate::measure::{KernelSet, WordFormat, magnitudes, pages};
use std::collections::BTreeSet;
use tensorseal_base::dtype::Dtype;
use tensorseal_base::hashing::HashingPlan;
use tensorseal_base::quantised::HALO_LEN;
use tensorseal_format::{Checkpoint, FileKind, Tensor};

/// What an object is, by index into the checkpoint of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// The tensor `Checkpoint::tensors[i]`.
    Tensor(usize),
    /// Bytes of `Checkpoint::files[i]` that no tensor covers: a header, padding, trailing bytes.
    Gap(usize),
    /// The whole file `Checkpoint::files[i]`.
    File(usize),
    /// The whole file `Checkpoint::files[i]`, which is not part of the model and only read for its digests.
    SignedOnly(usize),
}

/// A byte range of a file that is measured as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// What the object is.
    pub kind: ObjectKind,
    /// The index of the file.
    pub file: usize,
    /// The position of the first byte in the file.
    pub offset: u64,
    /// The length in bytes.
    pub bytes: u64,
    /// How words are counted; `None` if they are not.
    pub words: Option<WordFormat>,
    /// The index into [`Plan::carriers`]; `None` if the object is not correlated.
    pub carrier: Option<usize>,
    /// How the structure is measured; `None` if it is not.
    pub layout: Option<StructureLayout>,
    /// The type whose quantisation blocks are counted; `None` if they are not.
    pub codes: Option<Dtype>,
}

impl Object {
    /// Creates an object of which only the digest is measured.
    pub fn digest_only(kind: ObjectKind, file: usize, offset: u64, bytes: u64) -> Object {
        Object { kind, file, offset, bytes, words: None, carrier: None, layout: None, codes: None }
    }
}

/// How a tensor is correlated with the keys of a plan.
#[derive(Debug, Clone)]
pub struct PlannedCarrier {
    /// How the elements carry chips.
    pub carrier: Carrier,
    /// For each key, the offset that determines which carrier block carries which slot.
    pub offsets: Vec<u32>,
}

/// All objects that a run measures, in order of file and offset.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The objects; those of one file are in order of their offsets.
    pub objects: Vec<Object>,
    /// The keys that carriers are correlated with.
    pub keys: Vec<ChipKey>,
    /// The carriers, which objects refer to by index.
    pub carriers: Vec<PlannedCarrier>,
    /// The additional digests of whole files; all bytes of these files must be in the plan.
    pub file_hashing: HashingPlan,
}

impl Plan {
    /// Plans every byte of the model: each tensor, each gap, and each other file. `distribution` also
    /// requests the counts of words, and those of codes and scales of block-quantised tensors.
    ///
    /// Files of kind [`FileKind::Damaged`] have no layout and are one object. Tensors that share bytes
    /// (views of one storage) are each read; [`Plan::bytes`] counts the bytes that are read.
    pub fn everything(model: &Checkpoint, distribution: bool) -> Plan {
        let mut objects = Vec::with_capacity(model.tensors.len() + 2 * model.model_files().len());
        let mut tensors = model.tensors.iter().enumerate().peekable();
        for (file, entry) in model.model_files().iter().enumerate() {
            if entry.kind != FileKind::Tensors {
                objects.push(Object::digest_only(ObjectKind::File(file), file, 0, entry.bytes));
                continue;
            }
            let mut position = 0;
            let gap = |start: u64, end: u64| {
                Object::digest_only(ObjectKind::Gap(file), file, start, end - start)
            };
            while let Some((index, tensor)) = tensors.next_if(|(_, t)| t.file == file) {
                if tensor.bytes > entry.bytes.saturating_sub(tensor.offset) {
                    continue;
                }
                if tensor.offset > position {
                    objects.push(gap(position, tensor.offset));
                }
                let kind = ObjectKind::Tensor(index);
                // Block-quantised types have codes and scales instead of words.
                let blocks = tensor.dtype.is_block_quantised();
                objects.push(Object {
                    words: (distribution && !blocks).then(|| WordFormat::from_dtype(tensor.dtype)),
                    codes: (distribution && blocks).then_some(tensor.dtype),
                    ..Object::digest_only(kind, file, tensor.offset, tensor.bytes)
                });
                position = position.max(tensor.offset + tensor.bytes);
            }
            if position < entry.bytes {
                objects.push(gap(position, entry.bytes));
            }
        }
        Plan { objects, ..Plan::default() }
    }

    /// Plans tensors, given with their indices, to be read. A tensor that is given twice is read twice.
    pub fn from_tensors<'a>(tensors: impl Iterator<Item = (usize, &'a Tensor)>) -> Plan {
        let objects = tensors.map(|(index, tensor)| {
            let Tensor { file, offset, bytes, .. } = *tensor;
            Object::digest_only(ObjectKind::Tensor(index), file, offset, bytes)
        });
        Plan { objects: objects.collect(), ..Plan::default() }
    }

    /// Returns what is measured of an object in addition to its digest.
    pub fn kernels_for(&self, object: &Object) -> KernelSet {
        let carrier = object.carrier.and_then(|index| self.carriers.get(index));
        KernelSet {
            words: object.words,
            carrier: carrier.map(|planned| planned.carrier),
            layout: object.layout,
            codes: object.codes,
        }
    }

    /// Returns how many bytes after position `end` of an object are read together with a part that ends there.
    pub fn halo(&self, object: &Object, end: u64) -> usize {
        match self.kernels_for(object).block_type() {
            Some(_) => object.bytes.saturating_sub(end).min(HALO_LEN as u64) as usize,
            None => 0,
        }
    }

    /// Returns the block-quantised types whose blocks are read.
    pub fn block_types(&self) -> Vec<Dtype> {
        let types: BTreeSet<Dtype> = self
            .objects
            .iter()
            .filter_map(|object| self.kernels_for(object).block_type())
            .collect();
        types.into_iter().collect()
    }

    /// Requests the structure of every tensor as well.
    pub fn with_structure(mut self, model: &Checkpoint) -> Plan {
        for object in &mut self.objects {
            if let ObjectKind::Tensor(index) = object.kind {
                let tensor = &model.tensors[index];
                let elements = ElementFormat::from_dtype(tensor.dtype);
                object.layout = Some(StructureLayout {
                    phase: pages::phase(object.offset),
                    elements,
                    columns: magnitudes::columns(&tensor.storage_shape()).unwrap_or(0),
                });
            }
        }
        self
    }

    /// Requests digests of files as well, on a plan of [`Plan::everything`]. If all files use the same
    /// hashings, the [signed-only](tensorseal_format::ModelFile::signed_only) files are included.
    pub fn with_file_hashing(
        mut self,
        model: &Checkpoint,
        hashings: impl Into<HashingPlan>,
    ) -> Plan {
        self.file_hashing = hashings.into();
        if matches!(&self.file_hashing, HashingPlan::Uniform(hashings) if !hashings.is_empty()) {
            let signed_only = model.model_files().len()..model.files.len();
            self.objects.extend(signed_only.map(|file| {
                Object::digest_only(ObjectKind::SignedOnly(file), file, 0, model.files[file].bytes)
            }));
        }
        self
    }

    /// Returns the number of bytes in objects that are not part of the model.
    pub fn signed_only_bytes(&self) -> u64 {
        let signed_only =
            self.objects.iter().filter(|o| matches!(o.kind, ObjectKind::SignedOnly(_)));
        signed_only.map(|object| object.bytes).sum()
    }

    /// Returns the number of bytes in all objects.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.bytes).sum()
    }
}
