//! Digests of files, and nothing else: what a signature alone needs.
//!
//! BLAKE3 of whole files goes through the engines, one object a file. Everything else hashes in order and
//! does not merge: files are hashed side by side, the largest first, straight from the map, and a file that
//! is only wanted in shards is hashed in several places at once.

use super::error::RunError;
use super::options::RunOptions;
use super::report::{EngineUse, RunReport};
use super::run::run;
use crate::stream::files::FileSet;
use crate::stream::plan::{Object, ObjectKind, Plan};
use crate::stream::progress::Progress;
use crate::stream::source::PIECE_LEN;
use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tensorseal_base::hashing::{FileDigests, FileHasher, FileHashing, HashAlgorithm};
use tensorseal_format::ModelFile;

/// Bytes of a part of a file that is wanted in shards.
const PART_LEN: u64 = 64 << 20;

/// Bytes after which a reader looks whether it is to stop, and asks for what comes next.
const STEP_LEN: u64 = 4 << 20;

/// How far ahead of a reader the system is asked to read.
const READ_AHEAD: usize = 32 << 20;

/// Digests all of `files` by all of `hashings`; nothing else is measured. The digests are in
/// [`RunReport::file_digests`], in the order of the files.
///
/// # Errors
/// See [`RunError`].
pub fn hash_files(
    files: &[ModelFile],
    hashings: &[FileHashing],
    options: &RunOptions,
    progress: &Progress,
) -> Result<RunReport, RunError> {
    // Whatever they hold, it is bytes here: as they are, and whatever checksums they state.
    let plain = |file: &ModelFile| ModelFile {
        checksums: Vec::new(),
        big_endian: Vec::new(),
        ..file.clone()
    };
    let files: Vec<ModelFile> = files.iter().map(plain).collect();
    match hashings {
        [FileHashing { algorithm: HashAlgorithm::Blake3, shard: None }] => {
            hash_trees(&files, hashings, options, progress)
        }
        _ => hash_in_order(&files, hashings, options, progress),
    }
}

/// BLAKE3 of whole files: parallel within a file, by whatever engine.
fn hash_trees(
    files: &[ModelFile],
    hashings: &[FileHashing],
    options: &RunOptions,
    progress: &Progress,
) -> Result<RunReport, RunError> {
    let object = |(index, file): (usize, &ModelFile)| whole(index, file);
    let plan = Plan { objects: files.iter().enumerate().map(object).collect(), ..Plan::default() };
    let report = run(files, &plan, options, progress, &|_| {})?;
    let of = |file: usize| {
        let whole = report.whole_files.get(&file)?;
        Some(FileDigests::from_single(hashings[0], whole.to_vec()))
    };
    Ok(RunReport { file_digests: (0..files.len()).map(of).collect(), ..report })
}

fn whole(index: usize, file: &ModelFile) -> Object {
    let kind = match file.signed_only {
        None => ObjectKind::File(index),
        Some(_) => ObjectKind::SignedOnly(index),
    };
    Object::digest_only(kind, index, 0, file.bytes)
}

fn hash_in_order(
    files: &[ModelFile],
    hashings: &[FileHashing],
    options: &RunOptions,
    progress: &Progress,
) -> Result<RunReport, RunError> {
    let started = Instant::now();
    let plan = Plan { objects: parts(files, hashings), ..Plan::default() };
    let bytes = plan.bytes();
    progress.expect(bytes);
    let pool = options.threads.pool()?;
    let threads = pool.current_num_threads();
    let reading = FileHashingRun {
        plan: &plan,
        files: FileSet::new(files, &plan),
        hashings,
        progress,
        order: largest_first(&plan.objects),
        next: AtomicUsize::new(0),
        found: plan.objects.iter().map(|_| Mutex::default()).collect(),
        failure: Mutex::default(),
    };
    pool.broadcast(|_| reading.work());
    let mut file_digests: Vec<Option<FileDigests>> = vec![None; files.len()];
    if let Some(error) = reading.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    for (object, found) in plan.objects.iter().zip(reading.found) {
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let found = found.ok_or(RunError::Unmeasured)?;
        file_digests[object.file].get_or_insert_default().append(found);
    }
    let seconds = started.elapsed().as_secs_f64();
    let device = "cpu".to_owned();
    let engine = EngineUse { device, threads, bytes_read: bytes, seconds, ..EngineUse::default() };
    let bytes_beside = plan.signed_only_bytes();
    Ok(RunReport { engine, file_digests, signed_only_bytes: bytes_beside, ..RunReport::default() })
}

/// What is hashed at once, in order of file and offset: whole files, or where all is wanted in shards of
/// one size, parts of so many whole shards.
fn parts(files: &[ModelFile], hashings: &[FileHashing]) -> Vec<Object> {
    let shard = match hashings {
        [first, rest @ ..] if rest.iter().all(|other| other.shard == first.shard) => first.shard,
        _ => None,
    };
    let step = shard.map(|shard| {
        let shard = shard.get();
        shard.saturating_mul((PART_LEN / shard).max(1))
    });
    let mut parts = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let file_whole = whole(index, file);
        match step {
            Some(step) if step < file.bytes => {
                let mut offset = 0;
                while offset < file.bytes {
                    let bytes = step.min(file.bytes - offset);
                    parts.push(Object { offset, bytes, ..file_whole });
                    offset += bytes;
                }
            }
            _ => parts.push(file_whole),
        }
    }
    parts
}

/// The last thing to end should be a short one.
fn largest_first(objects: &[Object]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..objects.len()).collect();
    order.sort_by_key(|index| Reverse(objects[*index].bytes));
    order
}

/// What the threads share.
struct FileHashingRun<'a> {
    plan: &'a Plan,
    files: FileSet<'a>,
    hashings: &'a [FileHashing],
    progress: &'a Progress,
    order: Vec<usize>,
    next: AtomicUsize,
    /// By object of the plan.
    found: Vec<Mutex<Option<FileDigests>>>,
    failure: Mutex<Option<RunError>>,
}

impl FileHashingRun<'_> {
    /// Hashes until nothing is left.
    fn work(&self) {
        let mut copy = Vec::new();
        while let Some(index) = self.order.get(self.next.fetch_add(1, Relaxed)) {
            match self.hash(&self.plan.objects[*index], &mut copy) {
                Ok(digests) => {
                    *self.found[*index].lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(digests);
                }
                Err(error) => {
                    let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert(error);
                    // Nothing more is taken.
                    return self.next.store(self.order.len(), Relaxed);
                }
            }
        }
    }

    fn hash(&self, object: &Object, copy: &mut Vec<u8>) -> Result<FileDigests, RunError> {
        let mut hasher = FileHasher::new(self.hashings, object.bytes);
        let named = |error| RunError::from(self.files.name_error(object.file, error));
        let end = object.offset + object.bytes;
        let mut position = object.offset;
        while position < end {
            if self.progress.stopped() {
                return Err(RunError::Interrupted);
            }
            let source = self.files.source(object.file)?;
            source.read_ahead(position, READ_AHEAD);
            let step = STEP_LEN.min(end - position);
            if let [_] = self.hashings {
                // One function reads each byte once, wherever it lies: no copy is needed.
                source
                    .read(position, step as usize, &mut |bytes| hasher.update(bytes))
                    .map_err(named)?;
            } else {
                for at in (0..step).step_by(PIECE_LEN) {
                    let len = (step - at).min(PIECE_LEN as u64) as usize;
                    self.files.copy_into(object.file, position + at, len, copy)?;
                    hasher.update(copy);
                }
            }
            position += step;
            self.progress.add(step);
        }
        self.files.object_done(object.file)?;
        Ok(hasher.finish())
    }
}
