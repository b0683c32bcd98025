//! Feeds tiles from the queue to a [`Gpu`], collects its measurements, and hands the remaining work to
//! the CPU if the device fails.

use super::error::RunError;
use super::gpu::{DeviceSelector, Gpu, GpuError, TileFeed, TileSpec};
use super::run_state::RunState;
use super::threads::Threads;
use super::worker_pool::WorkerPool;
use crate::measure::TileMeasurement;
use crate::measure::chips::ChipKey;
use crate::stream::plan::Object;
use crate::stream::queue::Tile;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How the device took part in the run.
#[derive(Debug, Default)]
pub(super) struct DeviceOutcome {
    pub adapter: Option<String>,
    pub fallback: Option<String>,
    pub choice: Option<String>,
}

/// Runs the device until the queue is empty or the device fails.
pub(super) fn drive_device(
    shared: &RunState<'_>,
    selector: &DeviceSelector,
    opened: Option<Arc<Gpu>>,
    threads: &Threads,
    lose_after: Option<u64>,
) -> DeviceOutcome {
    let automatic = opened.is_none();
    let open = || {
        let gpu = Gpu::open(selector)?;
        gpu.trust(&shared.plan.block_types())?;
        Ok(Arc::new(gpu))
    };
    let gpu = match opened.map_or_else(open, Ok) {
        Ok(gpu) => gpu,
        Err(error) => {
            // Only `auto` opens a device here: the CPU engine has already started and measures everything.
            shared.queue.device_ended([]);
            let choice = match error {
                GpuError::NoAdapter => "CPU (no hardware GPU found)".to_owned(),
                GpuError::NotBuiltIn => "CPU (this build has no GPU engine)".to_owned(),
                error => format!("CPU ({error})"),
            };
            return DeviceOutcome { choice: Some(choice), ..DeviceOutcome::default() };
        }
    };
    let name = gpu.description().name.clone();
    let plan = shared.plan;
    let only_digests = plan.objects.iter().all(|object| plan.kernels_for(object).is_digest_only());
    if automatic && only_digests && gpu.description().is_discrete() {
        // Computing digests costs less than sending the bytes over the bus.
        shared.queue.device_ended([]);
        let choice = Some(format!("CPU (for digests alone, copying to {name} would be slower)"));
        return DeviceOutcome { choice, ..DeviceOutcome::default() };
    }
    let pool = match threads.feeder_pool() {
        Ok(pool) => pool,
        Err(error) => {
            shared.fail(error);
            return DeviceOutcome::default();
        }
    };
    let feed = DeviceFeed { shared, gpu: &gpu, pool, tiles: AtomicU64::new(0), lose_after };
    let mut outcome = DeviceOutcome {
        choice: automatic.then(|| format!("CPU and {name}")),
        adapter: Some(name),
        fallback: None,
    };
    match gpu.stream(&feed) {
        Ok(_) => shared.queue.device_ended([]),
        Err(failure) => {
            outcome.fallback = Some(failure.error.to_string());
            // Tiles whose copy was already given to a sequential hasher must not be read again: they
            // are measured here, from that copy.
            let mut unfinished = Vec::new();
            for job in failure.jobs {
                match &job.copy {
                    None => unfinished.push(job.tile),
                    Some(copy) => {
                        let measured = shared.measure_copy(copy, job.tile, &job.object);
                        feed.collect(&job, measured, false);
                    }
                }
            }
            shared.queue.device_ended(unfinished);
        }
    }
    outcome
}

/// A tile on its way through the device.
pub(super) struct DeviceJob {
    tile: Tile,
    object: Object,
    /// A private copy in main memory, if something else needs the bytes as well.
    copy: Option<Arc<Vec<u8>>>,
    cross_checked: bool,
}

struct DeviceFeed<'a> {
    shared: &'a RunState<'a>,
    gpu: &'a Gpu,
    pool: Option<&'a WorkerPool>,
    tiles: AtomicU64,
    lose_after: Option<u64>,
}

impl DeviceFeed<'_> {
    fn collect(&self, job: &DeviceJob, measured: TileMeasurement, by_device: bool) {
        let last = self.shared.collector.add_measured(job.tile, measured);
        if let Err(error) = self.shared.tile_done(job.tile, &job.object, last, by_device) {
            self.shared.fail(error);
        }
    }
}

impl TileFeed for DeviceFeed<'_> {
    type Job = DeviceJob;
    type Error = RunError;

    fn next(&self) -> Option<DeviceJob> {
        if let Err(error) = self.shared.check_interrupt() {
            self.shared.fail(error);
        }
        if self.lose_after.is_some_and(|after| self.tiles.fetch_add(1, Relaxed) == after) {
            self.gpu.destroy();
        }
        let tile = self.shared.queue.next_device()?;
        let object = self.shared.plan.objects[tile.object];
        let cross_checked = self.shared.cross_check.selects(&object, tile);
        let copy = if cross_checked || self.shared.needs_copy(object.file) {
            match self.shared.copy(tile) {
                Ok(copy) => Some(copy),
                Err(error) => {
                    self.shared.fail(error);
                    return None;
                }
            }
        } else {
            None
        };
        Some(DeviceJob { tile, object, copy, cross_checked })
    }

    fn spec(&self, job: &DeviceJob) -> TileSpec {
        let kernels = self.shared.plan.kernels_for(&job.object);
        let halo = self.shared.plan.halo(&job.object, job.tile.end());
        TileSpec { offset: job.tile.start, len: job.tile.len, halo, kernels }
    }

    fn pool(&self) -> Option<&WorkerPool> {
        self.pool
    }

    fn keys(&self) -> &[ChipKey] {
        &self.shared.plan.keys
    }

    fn read(
        &self,
        job: &DeviceJob,
        range: Range<usize>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), RunError> {
        if let Some(copy) = &job.copy {
            sink(&copy[range]);
            return Ok(());
        }
        let position = job.object.offset + job.tile.start + range.start as u64;
        let files = &self.shared.files;
        files
            .source(job.object.file)?
            .read(position, range.len(), sink)
            .map_err(|error| files.name_error(job.object.file, error).into())
    }

    fn done(&self, job: DeviceJob, measured: TileMeasurement) {
        if job.cross_checked
            && let Some(copy) = &job.copy
        {
            let by_cpu = self.shared.measure_copy(copy, job.tile, &job.object);
            if by_cpu != measured {
                let adapter = &self.gpu.description().name;
                let error = self.shared.disagreement(adapter, job.tile, &job.object);
                return self.shared.fail(error);
            }
            self.shared.cross_check.record_agreement();
        }
        self.collect(&job, measured, true);
    }

    fn failed(&self, _job: DeviceJob, error: RunError) {
        self.shared.fail(error);
    }
}
