//! Digests of files without any other measurement, as a signature needs them.
//!
//! BLAKE3 of whole files runs on the engines, with one object per file. Other hash functions are
//! sequential: files are hashed in parallel, the largest first, directly from the memory map. A file that
//! is only hashed in shards is divided among the threads.

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

/// The target size in bytes of a part of a file that is hashed in shards.
const PART_LEN: u64 = 64 << 20;

/// The number of bytes after which a reader checks for interruption and requests the next bytes.
const STEP_LEN: u64 = 4 << 20;

/// How many bytes ahead of a reader the system is asked to read.
const READ_AHEAD: usize = 32 << 20;

/// Computes the digests of all `files` with all `hashings`; nothing else is measured. The digests are in
/// [`RunReport::file_digests`], in the order of the files.
///
/// # Errors
/// Returns a [`RunError`] if a file cannot be read or changes, if the engines or threads cannot be used,
/// or if the run is stopped.
pub fn hash_files(
    files: &[ModelFile],
    hashings: &[FileHashing],
    options: &RunOptions,
    progress: &Progress,
) -> Result<RunReport, RunError> {
    // The digests cover the raw bytes: byte order and stated checksums do not matter here.
    let as_raw_bytes = |file: &ModelFile| ModelFile {
        checksums: Vec::new(),
        big_endian: Vec::new(),
        ..file.clone()
    };
    let files: Vec<ModelFile> = files.iter().map(as_raw_bytes).collect();
    match hashings {
        [FileHashing { algorithm: HashAlgorithm::Blake3, shard: None }] => {
            hash_trees(&files, hashings, options, progress)
        }
        _ => hash_in_order(&files, hashings, options, progress),
    }
}

/// Computes BLAKE3 of whole files, in parallel within each file, on any engine.
fn hash_trees(
    files: &[ModelFile],
    hashings: &[FileHashing],
    options: &RunOptions,
    progress: &Progress,
) -> Result<RunReport, RunError> {
    let object = |(index, file): (usize, &ModelFile)| whole_file(index, file);
    let plan = Plan { objects: files.iter().enumerate().map(object).collect(), ..Plan::default() };
    let report = run(files, &plan, options, progress, &|_| {})?;
    let digests = |file: usize| {
        let whole = report.whole_files.get(&file)?;
        Some(FileDigests::from_single(hashings[0], whole.to_vec()))
    };
    Ok(RunReport { file_digests: (0..files.len()).map(digests).collect(), ..report })
}

fn whole_file(index: usize, file: &ModelFile) -> Object {
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
    let threads = pool.thread_count();
    let reading = FileHashingRun {
        plan: &plan,
        files: FileSet::new(files, &plan),
        hashings,
        progress,
        order: largest_first(&plan.objects),
        next: AtomicUsize::new(0),
        digests: plan.objects.iter().map(|_| Mutex::default()).collect(),
        failure: Mutex::default(),
    };
    pool.broadcast(|| reading.work());
    let mut file_digests: Vec<Option<FileDigests>> = vec![None; files.len()];
    if let Some(error) = reading.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    for (object, digests) in plan.objects.iter().zip(reading.digests) {
        let digests = digests.into_inner().unwrap_or_else(PoisonError::into_inner);
        let digests = digests.ok_or(RunError::Unmeasured)?;
        file_digests[object.file].get_or_insert_default().append(digests);
    }
    let seconds = started.elapsed().as_secs_f64();
    let device = "cpu".to_owned();
    let engine = EngineUse { device, threads, bytes_read: bytes, seconds, ..EngineUse::default() };
    let signed_only_bytes = plan.signed_only_bytes();
    Ok(RunReport { engine, file_digests, signed_only_bytes, ..RunReport::default() })
}

/// Returns what is hashed as one, in order of file and offset: whole files, or parts of several whole
/// shards if all hashings use shards of one size.
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
        let object = whole_file(index, file);
        match step {
            Some(step) if step < file.bytes => {
                let mut offset = 0;
                while offset < file.bytes {
                    let bytes = step.min(file.bytes - offset);
                    parts.push(Object { offset, bytes, ..object });
                    offset += bytes;
                }
            }
            _ => parts.push(object),
        }
    }
    parts
}

/// Orders objects by size, so that the last ones to finish are short.
fn largest_first(objects: &[Object]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..objects.len()).collect();
    order.sort_by_key(|index| Reverse(objects[*index].bytes));
    order
}

/// The state that the hashing threads share.
struct FileHashingRun<'a> {
    plan: &'a Plan,
    files: FileSet<'a>,
    hashings: &'a [FileHashing],
    progress: &'a Progress,
    order: Vec<usize>,
    next: AtomicUsize,
    /// The digests of each object of the plan.
    digests: Vec<Mutex<Option<FileDigests>>>,
    failure: Mutex<Option<RunError>>,
}

impl FileHashingRun<'_> {
    /// Hashes objects until none remain.
    fn work(&self) {
        let mut copy = Vec::new();
        while let Some(index) = self.order.get(self.next.fetch_add(1, Relaxed)) {
            match self.hash(&self.plan.objects[*index], &mut copy) {
                Ok(digests) => {
                    *self.digests[*index].lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(digests);
                }
                Err(error) => {
                    let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert(error);
                    // No thread takes another object.
                    return self.next.store(self.order.len(), Relaxed);
                }
            }
        }
    }

    fn hash(&self, object: &Object, copy: &mut Vec<u8>) -> Result<FileDigests, RunError> {
        let mut hasher = FileHasher::new(self.hashings, object.bytes);
        let name_error = |error| RunError::from(self.files.name_error(object.file, error));
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
                // A single hash function reads each byte only once, so no copy is needed.
                source
                    .read(position, step as usize, &mut |bytes| hasher.update(bytes))
                    .map_err(name_error)?;
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
