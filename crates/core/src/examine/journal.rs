//! What earlier runs measured of a model, so that one that was ended before it was done need not begin anew.
//!
//! What is told of single objects is known as soon as they were measured. Digests and checksums of whole files
//! follow their bytes in order: of a file of which such are wanted, all is known or nothing.

use super::Request;
use crate::audit::TensorFacts;
use std::borrow::Cow;
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::plan::{Object, Plan};
use tensorseal_engine::{BrokenChecksum, FileMeasurement, RunReport};
use tensorseal_format::Checkpoint;

/// Remembers what was measured of the files of one model, as they are now, for one kind of [`Request`].
pub trait Journal: Sync {
    /// What was measured of an object.
    fn object(&self, object: &Object) -> Option<MeasuredObject>;

    /// What was found of a file of the model, by its index, besides its objects.
    fn file(&self, file: usize) -> Option<FileMeasurement>;

    /// An object was measured. Called from any thread.
    fn keep_object(&self, object: &Object, measured: &MeasuredObject);

    /// All objects of a file were kept. Called from any thread.
    fn keep_file(&self, file: usize, finished: &FileMeasurement);
}

/// What is kept of an object.
#[derive(Debug, Clone, Default)]
pub struct MeasuredObject {
    /// Plain BLAKE3 of its bytes.
    pub digest: ChainingValue,
    /// Chaining values of its blocks.
    pub blocks: Vec<ChainingValue>,
    /// For an audit, of tensors.
    pub facts: Option<TensorFacts>,
}

/// What a journal knows of a plan.
#[derive(Default)]
pub(super) struct JournalEntries {
    /// By object of the plan; empty when nothing is known.
    objects: Vec<Option<MeasuredObject>>,
    files: Vec<(usize, FileMeasurement)>,
}

impl JournalEntries {
    /// What `journal` knows of the objects of `plan`, which are those of `model`.
    pub(super) fn load(
        model: &Checkpoint,
        plan: &Plan,
        journal: Option<&dyn Journal>,
    ) -> JournalEntries {
        let Some(journal) = journal else { return JournalEntries::default() };
        let mut known = JournalEntries::default();
        for objects in plan.objects.chunk_by(|a, b| a.file == b.file) {
            let file = objects[0].file;
            // Without its facts, nothing would be said of a tensor that is audited.
            let is_whole = |object: &Object, measured: &MeasuredObject| {
                object.layout.is_none() || measured.facts.is_some()
            };
            let of = |object| journal.object(object).filter(|measured| is_whole(object, measured));
            let found = objects.iter().map(of);
            let hashings = plan.file_hashing.for_file(file);
            let entry = &model.files[file];
            if hashings.is_empty() && entry.checksums.is_empty() {
                known.objects.extend(found);
                continue;
            }
            let holds = |finished: &FileMeasurement| match &finished.digests {
                Some(digests) => digests.matches(hashings, entry.bytes),
                None => hashings.is_empty(),
            };
            let all: Option<Vec<MeasuredObject>> = found.collect();
            match all.zip(journal.file(file).filter(holds)) {
                Some((all, finished)) => {
                    known.objects.extend(all.into_iter().map(Some));
                    known.files.push((file, finished));
                }
                None => known.objects.extend(objects.iter().map(|_| None)),
            }
        }
        known
    }

    /// The part of `plan` that is not known, and the indices of its objects in the whole.
    pub(super) fn remaining<'p>(&self, plan: &'p Plan) -> (Cow<'p, Plan>, Vec<usize>) {
        let unknown = |index: &usize| self.objects.get(*index).is_none_or(Option::is_none);
        let rest: Vec<usize> = (0..plan.objects.len()).filter(unknown).collect();
        if rest.len() == plan.objects.len() {
            return (Cow::Borrowed(plan), rest);
        }
        let objects = rest.iter().map(|index| plan.objects[*index]).collect();
        (Cow::Owned(Plan { objects, ..plan.clone() }), rest)
    }

    /// What is known of objects, by index in the plan.
    pub(super) fn take_objects(&mut self) -> impl Iterator<Item = (usize, MeasuredObject)> {
        let objects = std::mem::take(&mut self.objects).into_iter().enumerate();
        objects.filter_map(|(index, known)| Some((index, known?)))
    }

    /// Adds what is known of files to what a run of the rest reports.
    pub(super) fn complete(self, run: &mut RunReport) {
        for (file, finished) in self.files {
            if let Some(digests) = run.file_digests.get_mut(file) {
                *digests = finished.digests;
            }
            let broken = finished.broken_checksums.into_iter();
            run.broken_checksums.extend(broken.map(|checksum| BrokenChecksum { file, checksum }));
        }
        run.broken_checksums.sort_unstable_by_key(|broken| (broken.file, broken.checksum));
    }
}

/// The journal of a request, if what it is for can be kept.
pub(super) fn usable_journal<'a>(request: &Request<'a>) -> Option<&'a dyn Journal> {
    request.journal.filter(|_| request.keys.is_empty() && !request.distributions)
}
