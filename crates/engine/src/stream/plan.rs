//! What is to be measured: objects (tensors, bytes outside tensors, whole files), in file order.

use crate::measure::chips::ChipKey;
use crate::measure::correlation::{Carrier, ElementFormat};
use crate::measure::structure::StructureLayout;
use crate::measure::{KernelSet, WordFormat, magnitudes, pages};
use std::collections::BTreeSet;
use tensorseal_base::dtype::Dtype;
use tensorseal_base::hashing::HashingPlan;
use tensorseal_base::quantised::HALO_LEN;
use tensorseal_format::{Checkpoint, FileKind, Tensor};

/// What an object is, by index into the checkpoint it was planned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// `Checkpoint::tensors[i]`.
    Tensor(usize),
    /// Bytes of `Checkpoint::files[i]` that no tensor covers: a header, a gap, a tail.
    Gap(usize),
    /// `Checkpoint::files[i]`, whole.
    File(usize),
    /// `Checkpoint::files[i]`, whole, which is not part of the model: it is read for its own digests alone.
    SignedOnly(usize),
}

/// A byte range of a file that is digested (and counted) as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// Index of its file.
    pub file: usize,
    /// Position of its first byte in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// How its words are counted; `None`: digested only.
    pub words: Option<WordFormat>,
    /// Index into [`Plan::carriers`]; `None`: not correlated.
    pub carrier: Option<usize>,
    /// How its structure is measured; `None`: it is not.
    pub layout: Option<StructureLayout>,
    /// The type whose blocks are counted; `None`: they are not.
    pub codes: Option<Dtype>,
}

impl Object {
    /// One that is only read, or digested.
    pub fn digest_only(kind: ObjectKind, file: usize, offset: u64, bytes: u64) -> Object {
        Object { kind, file, offset, bytes, words: None, carrier: None, layout: None, codes: None }
    }
}

/// A tensor that is correlated with the keys of a plan.
#[derive(Debug, Clone)]
pub struct PlannedCarrier {
    /// How its elements carry chips.
    pub carrier: Carrier,
    /// By key: the offset that says which of its blocks carries which bit.
    pub offsets: Vec<u32>,
}

/// All objects of a run, in order of file and offset.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The objects; those of a file are in order of their offsets.
    pub objects: Vec<Object>,
    /// The keys that carriers are correlated with.
    pub keys: Vec<ChipKey>,
    /// Tensors that are correlated.
    pub carriers: Vec<PlannedCarrier>,
    /// How each file is digested besides, its bytes in order; every byte of the files must be planned.
    pub file_hashing: HashingPlan,
}

impl Plan {
    /// Every byte of the model: each tensor, each stretch outside tensors, each other file.
    ///
    /// Files of kind [`FileKind::Damaged`] have no layout and are taken whole. Tensors that share bytes
    /// (views of one storage) are each read; [`Plan::bytes`] counts what is read.
    pub fn everything(model: &Checkpoint, distribution: bool) -> Plan {
        let mut objects = Vec::with_capacity(model.tensors.len() + 2 * model.model_files().len());
        let mut tensors = model.tensors.iter().enumerate().peekable();
        for (file, entry) in model.model_files().iter().enumerate() {
            if entry.kind != FileKind::Tensors {
                objects.push(Object::digest_only(ObjectKind::File(file), file, 0, entry.bytes));
                continue;
            }
            let mut position = 0;
            let outside = |start: u64, end: u64| {
                Object::digest_only(ObjectKind::Gap(file), file, start, end - start)
            };
            while let Some((index, tensor)) = tensors.next_if(|(_, t)| t.file == file) {
                if tensor.bytes > entry.bytes.saturating_sub(tensor.offset) {
                    continue;
                }
                if tensor.offset > position {
                    objects.push(outside(position, tensor.offset));
                }
                let kind = ObjectKind::Tensor(index);
                // The words of blocks are codes and scales.
                let blocks = tensor.dtype.is_block_quantised();
                objects.push(Object {
                    words: (distribution && !blocks).then(|| WordFormat::from_dtype(tensor.dtype)),
                    codes: (distribution && blocks).then_some(tensor.dtype),
                    ..Object::digest_only(kind, file, tensor.offset, tensor.bytes)
                });
                position = position.max(tensor.offset + tensor.bytes);
            }
            if position < entry.bytes {
                objects.push(outside(position, entry.bytes));
            }
        }
        Plan { objects, ..Plan::default() }
    }

    /// Tensors that are to be read, with their numbers: one that is read twice is in it twice.
    pub fn from_tensors<'a>(tensors: impl Iterator<Item = (usize, &'a Tensor)>) -> Plan {
        let objects = tensors.map(|(index, tensor)| {
            let Tensor { file, offset, bytes, .. } = *tensor;
            Object::digest_only(ObjectKind::Tensor(index), file, offset, bytes)
        });
        Plan { objects: objects.collect(), ..Plan::default() }
    }

    /// What is measured of an object besides its digest.
    pub fn kernels_for(&self, object: &Object) -> KernelSet {
        let carrier = object.carrier.and_then(|index| self.carriers.get(index));
        KernelSet {
            words: object.words,
            carrier: carrier.map(|planned| planned.carrier),
            layout: object.layout,
            codes: object.codes,
        }
    }

    /// Bytes behind position `end` of an object that are read with what ends there.
    pub fn halo(&self, object: &Object, end: u64) -> usize {
        match self.kernels_for(object).block_type() {
            Some(_) => object.bytes.saturating_sub(end).min(HALO_LEN as u64) as usize,
            None => 0,
        }
    }

    /// The types whose blocks are read.
    pub fn block_types(&self) -> Vec<Dtype> {
        let types: BTreeSet<Dtype> = self
            .objects
            .iter()
            .filter_map(|object| self.kernels_for(object).block_type())
            .collect();
        types.into_iter().collect()
    }

    /// Asks for the structure of every tensor, too.
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

    /// Asks for digests of files, too: where all are hashed alike, those
    /// [beside](tensorseal_format::ModelFile::beside) the model among them. The plan is one of
    /// [`Plan::everything`].
    pub fn with_file_hashing(
        mut self,
        model: &Checkpoint,
        hashings: impl Into<HashingPlan>,
    ) -> Plan {
        self.file_hashing = hashings.into();
        if matches!(&self.file_hashing, HashingPlan::Uniform(hashings) if !hashings.is_empty()) {
            let beside = model.model_files().len()..model.files.len();
            self.objects.extend(beside.map(|file| {
                Object::digest_only(ObjectKind::SignedOnly(file), file, 0, model.files[file].bytes)
            }));
        }
        self
    }

    /// Bytes of the objects that are not part of the model.
    pub fn signed_only_bytes(&self) -> u64 {
        let beside = self.objects.iter().filter(|o| matches!(o.kind, ObjectKind::SignedOnly(_)));
        beside.map(|object| object.bytes).sum()
    }

    /// Bytes of all objects.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.bytes).sum()
    }
}
