//! A run: measures every object of a plan once, with the requested engines.

use super::collect::{Collector, ObjectMeasurement};
use super::cpu::Worker;
use super::cross_check::CrossCheck;
use super::device::DeviceChoice;
use super::driver::drive_device;
use super::error::RunError;
use super::gpu::{DeviceSelector, Gpu};
use super::options::RunOptions;
use super::report::{BrokenChecksum, EngineUse, RunObserver, RunReport};
use super::run_state::RunState;
use crate::stream::checksums::ChecksumVerifier;
use crate::stream::files::FileSet;
use crate::stream::plan::{ObjectKind, Plan};
use crate::stream::progress::Progress;
use crate::stream::queue::{TileConsumers, TileQueue};
use crate::stream::sequential_hasher::SequentialHasher;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tensorseal_base::display::display_name;
use tensorseal_format::ModelFile;

/// Below this number of bytes `auto` does not look for a device.
const AUTO_DEVICE_FROM: u64 = 1 << 30;

/// Measures every object of `plan` and calls `finish` once for each, from any thread.
///
/// # Errors
/// Returns a [`RunError`] if a file cannot be read or changes, if the engines or threads cannot be used,
/// or if the run is stopped. The measurements that `finish` received until then must be discarded.
pub fn run(
    files: &[ModelFile],
    plan: &Plan,
    options: &RunOptions,
    progress: &Progress,
    finish: &(dyn Fn(ObjectMeasurement<'_>) + Sync),
) -> Result<RunReport, RunError> {
    run_observed(files, plan, options, progress, RunObserver { object: finish, file: &|_, _| {} })
}

/// Measures every object of `plan` like [`run()`], and also reports every finished file to `observer`.
///
/// # Errors
/// Returns a [`RunError`] in the same cases as [`run()`]. What `observer` received for finished files
/// remains valid.
pub fn run_observed(
    files: &[ModelFile],
    plan: &Plan,
    options: &RunOptions,
    progress: &Progress,
    observer: RunObserver<'_>,
) -> Result<RunReport, RunError> {
    let started = Instant::now();
    let bytes = plan.bytes();
    progress.expect(bytes);
    let (consumers, selector) = choose_device(&options.device, bytes);
    log_plan(files, plan, &options.device);
    let small = options.device == DeviceChoice::Auto && selector.is_none();
    // A device that the user requested must be opened before anything is read.
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
    let pool = options.threads.pool()?;
    let threads = pool.thread_count();
    let hashes = !plan.file_hashing.is_empty();
    let hasher = |(index, file): (usize, &ModelFile)| {
        let hashings = plan.file_hashing.for_file(index);
        (!hashings.is_empty()).then(|| SequentialHasher::new(hashings, file.bytes))
    };
    let whole_files = Mutex::new(BTreeMap::new());
    let keep = |finished: ObjectMeasurement<'_>| {
        if let ObjectKind::File(file) | ObjectKind::SignedOnly(file) =
            plan.objects[finished.object].kind
        {
            let mut whole = whole_files.lock().unwrap_or_else(PoisonError::into_inner);
            whole.insert(file, finished.digest);
        }
        (observer.object)(finished);
    };
    let shared = RunState {
        plan,
        files: FileSet::new(files, plan),
        queue: TileQueue::new(plan, consumers, if hashes { threads } else { 1 }),
        collector: Collector::new(plan, &keep),
        checksum_verifiers: checksum_verifiers(files, plan),
        hashers: files.iter().enumerate().map(hasher).collect(),
        cross_check,
        names: files,
        progress,
        rate_limiter: options.rate_limiter.as_deref(),
        file_done: observer.file,
        failure: Mutex::default(),
        device_bytes: AtomicU64::new(0),
    };
    let outcome = std::thread::scope(|scope| {
        let device = selector.as_ref().map(|selector| {
            let (shared, opened) = (&shared, opened.clone());
            scope.spawn(move || {
                let _end = DeviceEndGuard(&shared.queue);
                drive_device(shared, selector, opened, &options.threads, options.lose_device_after)
            })
        });
        pool.broadcast(|| Worker::new(&shared).work());
        device.and_then(|device| device.join().ok())
    });
    if let Some(error) = shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error);
    }
    if !shared.collector.is_complete() {
        return Err(RunError::Unmeasured);
    }
    let broken_checksums = failed_checksums(&shared.checksum_verifiers);
    let outcome = outcome.unwrap_or_default();
    let by_device = shared.device_bytes.load(Relaxed);
    tracing::debug!(
        threads,
        adapter = outcome.adapter.as_ref().map(tracing::field::display),
        bytes_on_device = by_device,
        choice = outcome.choice.as_ref().map(tracing::field::display),
        fallback = outcome.fallback.as_ref().map(tracing::field::display),
        seconds = started.elapsed().as_secs_f64(),
        "finished measuring"
    );
    let device = match by_device {
        0 => "cpu",
        _ if consumers == TileConsumers::Device => "gpu",
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
            true => shared.hashers.iter().map(|hasher| hasher.as_ref()?.digests()).collect(),
            false => Vec::new(),
        },
        signed_only_bytes: plan.signed_only_bytes(),
        broken_checksums,
        // All workers have ended.
        whole_files: std::mem::take(
            &mut *whole_files.lock().unwrap_or_else(PoisonError::into_inner),
        ),
    })
}

/// Logs how much is read of each file.
fn log_plan(files: &[ModelFile], plan: &Plan, device: &DeviceChoice) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let mut read: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    for object in &plan.objects {
        let (objects, bytes) = read.entry(object.file).or_default();
        *objects += 1;
        *bytes = bytes.saturating_add(object.bytes);
    }
    tracing::debug!(%device, files = read.len(), bytes = plan.bytes(), "measuring");
    for (file, (objects, bytes)) in read {
        let path = files.get(file).map(|file| display_name(&file.path));
        tracing::debug!(file = path.map(tracing::field::display), objects, bytes, "reading");
    }
}

/// Returns a verifier for each file that the plan reads from and that states checksums.
fn checksum_verifiers<'a>(
    files: &'a [ModelFile],
    plan: &Plan,
) -> Vec<Option<ChecksumVerifier<'a>>> {
    let mut read = vec![false; files.len()];
    for object in &plan.objects {
        read[object.file] = true;
    }
    let verifier = |(file, read): (&'a ModelFile, bool)| {
        (read && !file.checksums.is_empty()).then(|| ChecksumVerifier::new(&file.checksums))
    };
    files.iter().zip(read).map(verifier).collect()
}

fn failed_checksums(verifiers: &[Option<ChecksumVerifier<'_>>]) -> Vec<BrokenChecksum> {
    let broken_of = |(file, verifiers): (usize, &Option<ChecksumVerifier<'_>>)| {
        let broken = verifiers.as_ref().map(ChecksumVerifier::failed).unwrap_or_default();
        broken.into_iter().map(move |checksum| BrokenChecksum { file, checksum })
    };
    verifiers.iter().enumerate().flat_map(broken_of).collect()
}

/// Releases the CPU workers when the thread of the device ends, also by a panic: they wait for tiles
/// that it might return.
struct DeviceEndGuard<'a>(&'a TileQueue<'a>);

impl Drop for DeviceEndGuard<'_> {
    fn drop(&mut self) {
        self.0.device_ended([]);
    }
}

/// Returns who measures whole blocks, and which device to open.
fn choose_device(device: &DeviceChoice, bytes: u64) -> (TileConsumers, Option<DeviceSelector>) {
    match device {
        DeviceChoice::Cpu => (TileConsumers::Cpu, None),
        DeviceChoice::Auto if bytes < AUTO_DEVICE_FROM => (TileConsumers::Cpu, None),
        DeviceChoice::Auto => (TileConsumers::Shared, Some(DeviceSelector::Hardware)),
        DeviceChoice::Gpu => (TileConsumers::Device, Some(DeviceSelector::Any)),
        DeviceChoice::Named(name) => {
            (TileConsumers::Device, Some(DeviceSelector::Named(name.clone())))
        }
        DeviceChoice::CpuAnd(name) => {
            (TileConsumers::Shared, Some(DeviceSelector::Named(name.clone())))
        }
    }
}
