//! Keeps what earlier runs measured of a model, so that an interrupted run can be resumed.
//!
//! The measurements of single objects are kept as soon as they are complete. Digests and checksums of whole files follow
//! the bytes in order, so a file for which they are requested is either restored completely or measured again.

use super::Request;
use crate::audit::TensorFacts;
use std::borrow::Cow;
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::plan::{Object, Plan};
use tensorseal_engine::{BrokenChecksum, FileMeasurement, RunReport};
use tensorseal_format::Checkpoint;

/// Stores measurements of the current files of one model for one kind of [`Request`].
pub trait Journal: Sync {
    /// Returns the stored measurement of an object.
    fn object(&self, object: &Object) -> Option<MeasuredObject>;

    /// Returns the stored measurement of the file with this index in the model, besides its objects.
    fn file(&self, file: usize) -> Option<FileMeasurement>;

    /// Stores the measurement of an object. This is called from any thread.
    fn keep_object(&self, object: &Object, measured: &MeasuredObject);

    /// Stores the measurement of a file after all of its objects were stored. This is called from any thread.
    fn keep_file(&self, file: usize, finished: &FileMeasurement);
}

/// The stored measurement of an object.
#[derive(Debug, Clone, Default)]
pub struct MeasuredObject {
    /// The plain BLAKE3 digest of the object's bytes.
    pub digest: ChainingValue,
    /// The chaining values of the object's blocks of 1 MiB.
    pub blocks: Vec<ChainingValue>,
    /// The facts for an audit, if the object is a tensor.
    pub facts: Option<TensorFacts>,
}

/// The stored measurements of the objects and files of a plan.
#[derive(Default)]
pub(super) struct JournalEntries {
    /// The measurement of each object of the plan; empty if there is no journal.
    objects: Vec<Option<MeasuredObject>>,
    files: Vec<(usize, FileMeasurement)>,
}

impl JournalEntries {
    /// Loads the measurements of the objects of `plan`, which are those of `model`.
    pub(super) fn load(
        model: &Checkpoint,
        plan: &Plan,
        journal: Option<&dyn Journal>,
    ) -> JournalEntries {
        let Some(journal) = journal else { return JournalEntries::default() };
        let mut entries = JournalEntries::default();
        for objects in plan.objects.chunk_by(|a, b| a.file == b.file) {
            let file = objects[0].file;
            // A tensor that is audited needs its facts as well.
            let is_complete = |object: &Object, measured: &MeasuredObject| {
                object.layout.is_none() || measured.facts.is_some()
            };
            let stored =
                |object| journal.object(object).filter(|measured| is_complete(object, measured));
            let stored_objects = objects.iter().map(stored);
            let hashings = plan.file_hashing.for_file(file);
            let entry = &model.files[file];
            if hashings.is_empty() && entry.checksums.is_empty() {
                entries.objects.extend(stored_objects);
                continue;
            }
            let matches_request = |finished: &FileMeasurement| match &finished.digests {
                Some(digests) => digests.matches(hashings, entry.bytes),
                None => hashings.is_empty(),
            };
            let complete_objects: Option<Vec<MeasuredObject>> = stored_objects.collect();
            match complete_objects.zip(journal.file(file).filter(matches_request)) {
                Some((complete_objects, finished)) => {
                    entries.objects.extend(complete_objects.into_iter().map(Some));
                    entries.files.push((file, finished));
                }
                None => entries.objects.extend(objects.iter().map(|_| None)),
            }
        }
        entries
    }

    /// Returns the part of `plan` that has to be measured, and the indices of its objects in `plan`.
    pub(super) fn remaining<'p>(&self, plan: &'p Plan) -> (Cow<'p, Plan>, Vec<usize>) {
        let is_missing = |index: &usize| self.objects.get(*index).is_none_or(Option::is_none);
        let rest: Vec<usize> = (0..plan.objects.len()).filter(is_missing).collect();
        if rest.len() == plan.objects.len() {
            return (Cow::Borrowed(plan), rest);
        }
        let objects = rest.iter().map(|index| plan.objects[*index]).collect();
        (Cow::Owned(Plan { objects, ..plan.clone() }), rest)
    }

    /// Takes the stored measurements of objects out, with their index in the plan.
    pub(super) fn take_objects(&mut self) -> impl Iterator<Item = (usize, MeasuredObject)> {
        let objects = std::mem::take(&mut self.objects).into_iter().enumerate();
        objects.filter_map(|(index, stored)| Some((index, stored?)))
    }

    /// Adds the stored measurements of files to the report of the run that measured the rest.
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

/// Returns the journal of a request, if a journal can hold what is requested.
pub(super) fn usable_journal<'a>(request: &Request<'a>) -> Option<&'a dyn Journal> {
    request.journal.filter(|_| request.keys.is_empty() && !request.distributions)
}
