//! One run: every object of a plan measured once, by the engines that were asked for.

use super::collect::{Collector, Finished};
use super::cpu::Worker;
use super::device::DeviceChoice;
use super::gpu::{DeviceSelector, Gpu, GpuError};
use super::shared::{CrossCheck, drive_device};
use crate::checkpoint::ModelFile;
use crate::measure::digest::ChainingValue;
use crate::measure::{self, TileMeasurement};
use crate::stream::files::{FileError, FileSet};
use crate::stream::hashing::FileDigests;
use crate::stream::lane::Lane;
use crate::stream::pace::Pace;
use crate::stream::plan::{Object, ObjectKind, Plan};
use crate::stream::progress::Progress;
use crate::stream::queue::{Takers, Tile, TileQueue};
use crate::stream::sums::Sums;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Below this many bytes `auto` does not even look for a device.
const AUTO_DEVICE_FROM: u64 = 1 << 30;

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Which engines.
    pub device: DeviceChoice,
    /// CPU threads; 0: as many as the system offers.
    pub threads: usize,
    /// Percentage of tiles, 0 to 100, that the other engine measures again.
    pub cross_check: f64,
    /// A bound on the bytes that are read in a second.
    pub pace: Option<Arc<Pace>>,
    /// Destroys the device after this many tiles: the test of a device that is lost.
    #[doc(hidden)]
    pub lose_device_after: Option<u64>,
}

/// Who measured, and how fast: the only part of a report that depends on the machine.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EngineUse {
    /// `cpu`, `gpu` or `cpu+gpu`: who measured.
    pub device: String,
    /// Name of the adapter, if one was used.
    pub adapter: Option<String>,
    /// CPU threads.
    pub threads: usize,
    /// Bytes measured.
    pub bytes_read: u64,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Share of the bytes that a device measured, 0 to 1.
    pub gpu_share: f64,
    /// Why the device was left in the middle of the run.
    pub fallback: Option<String>,
    /// Tiles that both engines measured and agreed on.
    pub cross_checked: u64,
}

/// What a run did, besides its measurements.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// Who measured.
    pub engine: EngineUse,
    /// What `auto` chose, in words.
    pub choice: Option<String>,
    /// By file of the model, when [asked for](Plan::file_hashing).
    pub file_digests: Vec<Option<FileDigests>>,
    /// BLAKE3 of the files that were measured whole, by index of the file.
    pub whole_files: BTreeMap<usize, ChainingValue>,
    /// Bytes that were measured and are not part of the model.
    pub bytes_beside: u64,
    /// Stretches whose bytes were all read and do not have the checksum that their file states.
    pub broken_checksums: Vec<BrokenChecksum>,
}

/// See [`RunReport::broken_checksums`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenChecksum {
    /// Index of the file in the model.
    pub file: usize,
    /// Index into [`ModelFile::checksums`].
    pub checksum: usize,
}

/// What was found of a file besides its objects, when the last of those was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedFile {
    /// Its digests, when [asked for](Plan::file_hashing).
    pub digests: Option<FileDigests>,
    /// Of [`ModelFile::checksums`], those that do not hold.
    pub broken_checksums: Vec<usize>,
}

/// Who is told of what was measured, once of each, from any thread.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// Of an object.
    pub object: &'a (dyn Fn(Finished<'_>) + Sync),
    /// Of a file, by its index, when all its objects in the plan were told of: it did not change meanwhile.
    pub file: &'a (dyn Fn(usize, FinishedFile) + Sync),
}

/// Why a run did not complete.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file could not be read, or changed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The device that was asked for is not there or not usable.
    #[error(transparent)]
    Device(#[from] GpuError),
    /// The CPU threads could not be started.
    #[error("cannot start {0} threads: {1}")]
    Threads(usize, String),
    /// The engines measured one copy of the same bytes differently.
    #[error(
        "{path}: the CPU and {adapter} disagree on bytes {start}..{end}: this machine computes wrongly and its results cannot be trusted"
    )]
    Disagree {
        /// The file.
        path: String,
        /// The device.
        adapter: String,
        /// First byte in the file.
        start: u64,
        /// One past the last.
        end: u64,
    },
    /// A tile was lost: a defect of this program, and never a pass.
    #[error("not every byte was measured: this is a defect of tensorseal, please report it")]
    Unmeasured,
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What all engines of a run share.
pub(super) struct Shared<'a> {
    pub plan: &'a Plan,
    pub files: FileSet<'a>,
    pub queue: TileQueue<'a>,
    pub collector: Collector<'a>,
    /// By file; `None`: no digests of it were asked for.
    pub lanes: Vec<Option<Lane<'a>>>,
    /// By file; `None`: it states no checksums, or is not read.
    sums: Vec<Option<Sums<'a>>>,
    pub cross_check: CrossCheck,
    pub names: &'a [ModelFile],
    progress: &'a Progress,
    pace: Option<&'a Pace>,
    file_done: &'a (dyn Fn(usize, FinishedFile) + Sync),
    failure: Mutex<Option<RunError>>,
    device_bytes: AtomicU64,
}

impl Shared<'_> {
    /// Ends the run; the first failure is the one that is reported.
    pub fn fail(&self, error: RunError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.queue.close();
        self.lanes.iter().flatten().for_each(Lane::close);
    }

    pub fn check_interrupt(&self) -> Result<(), RunError> {
        if self.progress.stopped() { Err(RunError::Interrupted) } else { Ok(()) }
    }

    /// Whether something besides the engine needs the bytes of a file: they are copied once for all.
    pub fn needs_copy(&self, file: usize) -> bool {
        self.lanes[file].is_some() || self.sums[file].is_some()
    }

    /// A private copy of a tile and of what is read behind it. The tile is also given to the ordered
    /// lane of its file, and to its checksums.
    pub fn copy(&self, tile: Tile) -> Result<Arc<Vec<u8>>, RunError> {
        let object = &self.plan.objects[tile.object];
        let position = object.offset + tile.start;
        let mut copy = Vec::new();
        let len = tile.len + self.plan.halo(object, tile.end());
        self.files.copy_into(object.file, position, len, &mut copy)?;
        let copy = Arc::new(copy);
        if !self.needs_copy(object.file) {
            return Ok(copy);
        }
        // The digests and the checksums of a file are of its bytes as they are.
        let raw = self.files.raw_copy(object.file, position, tile.len)?;
        let raw = raw.map_or_else(|| Arc::clone(&copy), Arc::new);
        if let Some(sums) = &self.sums[object.file] {
            sums.add(position, &raw[..tile.len]);
        }
        if let Some(lane) = &self.lanes[object.file] {
            lane.submit(position, raw, tile.len);
        }
        Ok(copy)
    }

    /// The CPU twins of all kernels over the copy of a tile.
    pub fn measure_copy(&self, copy: &[u8], tile: Tile, object: &Object) -> TileMeasurement {
        let wanted = self.plan.wanted(object);
        measure::measure_part(copy, tile.len, tile.start, wanted, &self.plan.keys)
    }

    pub fn tile_done(
        &self,
        tile: Tile,
        object: &Object,
        last: bool,
        by_device: bool,
    ) -> Result<(), RunError> {
        self.progress.add(tile.len as u64);
        if let Some(pace) = self.pace {
            pace.pay(tile.len as u64, self.progress);
        }
        if by_device {
            self.device_bytes.fetch_add(tile.len as u64, Relaxed);
        }
        if last && self.files.object_done(object.file)? {
            (self.file_done)(object.file, self.finished(object.file));
        }
        Ok(())
    }

    /// Of a file whose objects were all measured: whoever fed its lane has measured what he fed it with, so
    /// that nobody feeds it any more.
    fn finished(&self, file: usize) -> FinishedFile {
        FinishedFile {
            digests: self.lanes[file].as_ref().and_then(Lane::digests),
            broken_checksums: self.sums[file].as_ref().map(Sums::broken).unwrap_or_default(),
        }
    }
}

/// Measures every object of `plan` and calls `finish` once for each, from any thread.
///
/// # Errors
/// See [`RunError`]; objects that were finished until then are to be thrown away.
pub fn run(
    files: &[ModelFile],
    plan: &Plan,
    options: &RunOptions,
    progress: &Progress,
    finish: &(dyn Fn(Finished<'_>) + Sync),
) -> Result<RunReport, RunError> {
    run_told(files, plan, options, progress, Told { object: finish, file: &|_, _| {} })
}

/// As [`run()`], and also tells when a file is done.
///
/// # Errors
/// As there; what was told of an object or a file that is done is true all the same.
pub fn run_told(
    files: &[ModelFile],
    plan: &Plan,
    options: &RunOptions,
    progress: &Progress,
    told: Told<'_>,
) -> Result<RunReport, RunError> {
    let started = Instant::now();
    let bytes = plan.bytes();
    progress.expect(bytes);
    let (takers, selector) = choose(&options.device, bytes);
    let small = options.device == DeviceChoice::Auto && selector.is_none();
    // A device that was asked for by name must be there before anything is read.
    let must_open = !matches!(options.device, DeviceChoice::Auto);
    let opened = match &selector {
        Some(selector) if must_open => {
            let gpu = Gpu::open(selector)?;
            gpu.trust(&plan.block_types())?;
            Some(Arc::new(gpu))
        }
        _ => None,
    };
    let cross_check = CrossCheck::new(options.cross_check, opened.clone(), plan)?;
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let hashes = !plan.file_hashing.is_empty();
    let lane = |(index, file): (usize, &ModelFile)| {
        let hashings = plan.file_hashing.of(index);
        (!hashings.is_empty()).then(|| Lane::new(hashings, file.bytes))
    };
    let whole_files = Mutex::new(BTreeMap::new());
    let keep = |finished: Finished<'_>| {
        if let ObjectKind::File(file) | ObjectKind::Beside(file) =
            plan.objects[finished.object].kind
        {
            let mut whole = whole_files.lock().unwrap_or_else(PoisonError::into_inner);
            whole.insert(file, finished.digest);
        }
        (told.object)(finished);
    };
    let shared = Shared {
        plan,
        files: FileSet::new(files, plan),
        queue: TileQueue::new(plan, takers, if hashes { threads } else { 1 }),
        collector: Collector::new(plan, &keep),
        sums: sums(files, plan),
        lanes: files.iter().enumerate().map(lane).collect(),
        cross_check,
        names: files,
        progress,
        pace: options.pace.as_deref(),
        file_done: told.file,
        failure: Mutex::default(),
        device_bytes: AtomicU64::new(0),
    };
    let pool = thread_pool(threads)?;
    let outcome = std::thread::scope(|scope| {
        let device = selector.as_ref().map(|selector| {
            let (shared, opened) = (&shared, opened.clone());
            scope.spawn(move || {
                let _end = EndDevice(&shared.queue);
                drive_device(shared, selector, opened, options.lose_device_after)
            })
        });
        pool.broadcast(|_| Worker::new(&shared).work());
        device.and_then(|device| device.join().ok())
    });
    if let Some(error) = shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error);
    }
    if !shared.collector.is_complete() {
        return Err(RunError::Unmeasured);
    }
    let broken_checksums = broken(&shared.sums);
    let outcome = outcome.unwrap_or_default();
    let by_device = shared.device_bytes.load(Relaxed);
    let device = match by_device {
        0 => "cpu",
        _ if takers == Takers::Device => "gpu",
        _ => "cpu+gpu",
    };
    Ok(RunReport {
        engine: EngineUse {
            device: device.to_owned(),
            adapter: outcome.adapter,
            threads,
            bytes_read: bytes,
            seconds: started.elapsed().as_secs_f64(),
            gpu_share: if bytes == 0 { 0.0 } else { by_device as f64 / bytes as f64 },
            fallback: outcome.fallback,
            cross_checked: shared.cross_check.count(),
        },
        choice: outcome.choice.or_else(|| small.then(|| "CPU (less than 1 GiB)".to_owned())),
        file_digests: match hashes {
            true => shared.lanes.iter().map(|lane| lane.as_ref()?.digests()).collect(),
            false => Vec::new(),
        },
        bytes_beside: plan.bytes_beside(),
        broken_checksums,
        // Nobody measures any more.
        whole_files: std::mem::take(
            &mut *whole_files.lock().unwrap_or_else(PoisonError::into_inner),
        ),
    })
}

/// The sums of the files that a plan reads from.
fn sums<'a>(files: &'a [ModelFile], plan: &Plan) -> Vec<Option<Sums<'a>>> {
    let mut read = vec![false; files.len()];
    for object in &plan.objects {
        read[object.file] = true;
    }
    let of = |(file, read): (&'a ModelFile, bool)| {
        (read && !file.checksums.is_empty()).then(|| Sums::new(&file.checksums))
    };
    files.iter().zip(read).map(of).collect()
}

fn broken(sums: &[Option<Sums<'_>>]) -> Vec<BrokenChecksum> {
    let of = |(file, sums): (usize, &Option<Sums<'_>>)| {
        let broken = sums.as_ref().map(Sums::broken).unwrap_or_default();
        broken.into_iter().map(move |checksum| BrokenChecksum { file, checksum })
    };
    sums.iter().enumerate().flat_map(of).collect()
}

/// CPU threads to measure with; 0: as many as the system offers.
///
/// # Errors
/// [`RunError::Threads`].
pub fn thread_pool(threads: usize) -> Result<rayon::ThreadPool, RunError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("measure-{i}"))
        .build()
        .map_err(|error| RunError::Threads(threads, error.to_string()))
}

/// Lets the CPU workers go when the device's thread ends, also by a panic: they wait for what it
/// might give back.
struct EndDevice<'a>(&'a TileQueue<'a>);

impl Drop for EndDevice<'_> {
    fn drop(&mut self) {
        self.0.device_ended([]);
    }
}

/// Who takes whole blocks, and which device to open.
fn choose(device: &DeviceChoice, bytes: u64) -> (Takers, Option<DeviceSelector>) {
    match device {
        DeviceChoice::Cpu => (Takers::Cpu, None),
        DeviceChoice::Auto if bytes < AUTO_DEVICE_FROM => (Takers::Cpu, None),
        DeviceChoice::Auto => (Takers::Shared, Some(DeviceSelector::Hardware)),
        DeviceChoice::Gpu => (Takers::Device, Some(DeviceSelector::Any)),
        DeviceChoice::Named(name) => (Takers::Device, Some(DeviceSelector::Named(name.clone()))),
        DeviceChoice::CpuAnd(name) => (Takers::Shared, Some(DeviceSelector::Named(name.clone()))),
    }
}
