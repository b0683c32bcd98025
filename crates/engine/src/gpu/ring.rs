//! Keeps several tiles in flight: while one is computed, the next is copied and the last one is read back.

use super::correlation::DeviceKeys;
use super::device::Gpu;
use super::error::GpuError;
use super::feed::{DeviceFailure, TileFeed};
use super::spec::TileSpec;
use super::tile::TileBuffers;
use crate::measure::chips::ChipKey;
use crate::measure::{BLOCK_LEN, KernelSet, TILE_LEN, TileMeasurement};
use crate::worker_pool::WorkerPool;
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use tensorseal_base::quantised::HALO_LEN;
use wgpu::{CommandEncoderDescriptor, MapMode, SubmissionIndex, WriteOnly};

/// The number of tiles in flight: one is filled, one copied, one computed.
const IN_FLIGHT: usize = 3;

/// A tile in flight.
struct InFlight<J> {
    buffers: TileBuffers,
    job: J,
    spec: TileSpec,
    submission: SubmissionIndex,
    staging: BufferMapping,
    readbacks: Vec<BufferMapping>,
}

/// The state of a requested mapping: 0 pending, 1 mapped, 2 failed.
#[derive(Clone, Default)]
struct BufferMapping(Arc<AtomicU8>);

impl BufferMapping {
    fn request(buffer: &wgpu::Buffer, mode: MapMode, bytes: Range<u64>) -> Self {
        let mapping = Self::default();
        let state = mapping.clone();
        buffer.slice(bytes).map_async(mode, move |result| {
            state.0.store(if result.is_ok() { 1 } else { 2 }, SeqCst);
        });
        mapping
    }

    fn check(&self, what: &str) -> Result<(), GpuError> {
        match self.0.load(SeqCst) {
            1 => Ok(()),
            2 => Err(GpuError::Lost(format!("the {what} buffer could not be mapped"))),
            _ => Err(GpuError::Failed(format!("the {what} buffer was not mapped in time"))),
        }
    }
}

/// A tile that could not be started, with its job and buffers.
struct FailedTile<F: TileFeed> {
    error: StartError<F::Error>,
    buffers: TileBuffers,
    job: F::Job,
}

/// The reason why a tile could not be started.
enum StartError<E> {
    Device(GpuError),
    Bytes(E),
}

impl Gpu {
    /// Measures every tile of `feed`, with several in flight.
    ///
    /// # Errors
    /// Returns a [`DeviceFailure`] with the tiles that were in flight if the device fails.
    pub fn stream<F: TileFeed>(&self, feed: &F) -> Result<(), DeviceFailure<F::Job>> {
        self.stream_with(feed, true)
    }

    /// Streams tiles without running kernels, to time the copies. The measurements have no meaning.
    pub(super) fn stream_copies<F: TileFeed>(&self, feed: &F) -> Result<(), DeviceFailure<F::Job>> {
        self.stream_with(feed, false)
    }

    fn stream_with<F: TileFeed>(
        &self,
        feed: &F,
        kernels: bool,
    ) -> Result<(), DeviceFailure<F::Job>> {
        let _one_run = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free: Vec<TileBuffers> = Vec::new();
        let mut flight: VecDeque<InFlight<F::Job>> = VecDeque::new();
        let mut more = true;
        let keys = self.upload_keys(feed.keys());
        let failure: Option<(GpuError, Option<F::Job>)> = loop {
            if more && flight.len() < IN_FLIGHT {
                let Some(job) = feed.next() else {
                    more = false;
                    continue;
                };
                // Buffers are created when they are needed: a short run needs one set.
                let buffers = match free.pop() {
                    Some(buffers) => buffers,
                    None => match self.new_buffers(&keys) {
                        Ok(buffers) => buffers,
                        Err(error) => break Some((error, Some(job))),
                    },
                };
                match self.start(feed, buffers, job, kernels) {
                    Ok(tile) => flight.push_back(tile),
                    Err(returned) => {
                        let FailedTile { error, buffers, job } = *returned;
                        match error {
                            StartError::Bytes(error) => {
                                free.push(buffers);
                                feed.failed(job, error);
                            }
                            StartError::Device(error) => break Some((error, Some(job))),
                        }
                    }
                }
                continue;
            }
            let Some(oldest) = flight.front() else { break None };
            match self.finish(oldest) {
                Ok(measured) => {
                    if let Some(done) = flight.pop_front() {
                        free.push(done.buffers);
                        feed.done(done.job, measured);
                    }
                }
                Err(error) => break Some((error, None)),
            }
        };
        match failure {
            None => Ok(()),
            Some((error, job)) => {
                let jobs = flight.into_iter().map(|tile| tile.job).chain(job).collect();
                Err(DeviceFailure { error, jobs })
            }
        }
    }

    fn new_buffers(&self, keys: &DeviceKeys) -> Result<TileBuffers, GpuError> {
        let buffers = TileBuffers::new(self, keys);
        self.check()?;
        // A new staging buffer is not mapped yet; later it is mapped again after each copy.
        let mapping =
            BufferMapping::request(&buffers.staging, MapMode::Write, 0..buffers.staging.size());
        let _ = self.device.poll(wgpu::PollType::Poll);
        self.check()?;
        mapping.check("staging")?;
        Ok(buffers)
    }

    fn start<F: TileFeed>(
        &self,
        feed: &F,
        mut buffers: TileBuffers,
        job: F::Job,
        kernels: bool,
    ) -> Result<InFlight<F::Job>, Box<FailedTile<F>>> {
        let spec = feed.spec(&job);
        debug_assert!(spec.len.is_multiple_of(BLOCK_LEN) && spec.len <= TILE_LEN && spec.len > 0);
        debug_assert!(spec.halo <= HALO_LEN);
        if let Err(error) = buffers.fit(self, &spec) {
            return Err(Box::new(FailedTile { error: StartError::Device(error), buffers, job }));
        }
        if let Err(error) = fill(feed, &buffers, &job, &spec) {
            return Err(Box::new(FailedTile { error, buffers, job }));
        }
        buffers.staging.unmap();
        let mut encoder = self.device.create_command_encoder(&CommandEncoderDescriptor::default());
        buffers.upload(&mut encoder, &spec);
        if kernels {
            buffers.measure(self, &mut encoder, &spec);
        }
        buffers.download(&mut encoder, &spec);
        let submission = self.queue.submit([encoder.finish()]);
        if let Err(error) = self.check() {
            return Err(Box::new(FailedTile { error: StartError::Device(error), buffers, job }));
        }
        let staging =
            BufferMapping::request(&buffers.staging, MapMode::Write, 0..buffers.staging.size());
        let read = |buffer: &&wgpu::Buffer| {
            BufferMapping::request(buffer, MapMode::Read, 0..buffer.size())
        };
        let readbacks = buffers.readbacks(&spec).iter().map(read).collect();
        Ok(InFlight { buffers, job, spec, submission, staging, readbacks })
    }

    fn finish<J>(&self, tile: &InFlight<J>) -> Result<TileMeasurement, GpuError> {
        self.wait(&tile.submission)?;
        tile.readbacks.iter().try_for_each(|mapping| mapping.check("read-back"))?;
        tile.staging.check("staging")?;
        tile.buffers.results(&tile.spec)
    }

    /// Measures one tile and waits for the result. `bytes` is a whole number of blocks, at most
    /// [`TILE_LEN`] bytes, at position `offset` of its object.
    ///
    /// # Errors
    /// Returns a [`GpuError`] if the device fails, or if `bytes` has another length.
    pub fn measure_tile(
        &self,
        bytes: &[u8],
        offset: u64,
        kernels: KernelSet,
        keys: &[ChipKey],
    ) -> Result<TileMeasurement, GpuError> {
        self.measure_part(bytes, bytes.len(), offset, kernels, keys)
    }

    /// Measures a tile like [`Gpu::measure_tile`]. The tile is the first `len` of `bytes`; its halo, the
    /// bytes that follow it in its object, is the rest.
    ///
    /// # Errors
    /// Returns a [`GpuError`] if the device fails, or if the tile or the halo has another length.
    pub fn measure_part(
        &self,
        bytes: &[u8],
        len: usize,
        offset: u64,
        kernels: KernelSet,
        keys: &[ChipKey],
    ) -> Result<TileMeasurement, GpuError> {
        if len == 0 || len > TILE_LEN || !len.is_multiple_of(BLOCK_LEN) {
            return Err(GpuError::Failed(format!("{len} bytes are not a tile of whole blocks")));
        }
        let halo = bytes.len().saturating_sub(len);
        if bytes.len() < len || halo > HALO_LEN {
            return Err(GpuError::Failed(format!("a halo of {halo} bytes is too long")));
        }
        let spec = TileSpec { offset, len, halo, kernels };
        let feed = MemoryFeed::new(bytes, spec, keys, 1);
        self.stream(&feed).map_err(|failure| failure.error)?;
        let measured = feed.measured.into_inner().unwrap_or_else(PoisonError::into_inner);
        measured.ok_or_else(|| GpuError::Failed("the tile was not measured".to_owned()))
    }
}

/// Fills the mapped staging buffer block by block, on the threads of the feed.
fn fill<F: TileFeed>(
    feed: &F,
    buffers: &TileBuffers,
    job: &F::Job,
    spec: &TileSpec,
) -> Result<(), StartError<F::Error>> {
    let mut view = buffers
        .staging
        .slice(..spec.copied())
        .get_mapped_range_mut()
        .map_err(|error| StartError::Device(GpuError::Failed(error.to_string())))?;
    // The memory may be write-combined or across the bus, so it is only written, in order.
    let (blocks, halo) = view.slice(..).into_chunks::<BLOCK_LEN>();
    let blocks: Vec<_> = blocks.into_iter().enumerate().collect();
    let read = |start: usize, len: usize, target: WriteOnly<'_, [u8]>| {
        let target = RefCell::new((target, 0));
        feed.read(job, start..start + len, &mut |piece| {
            let (part, filled) = &mut *target.borrow_mut();
            part.slice(*filled..*filled + piece.len()).copy_from_slice(piece);
            *filled += piece.len();
        })
        .map_err(StartError::Bytes)
    };
    let read_block =
        |(index, block)| read(index * BLOCK_LEN, BLOCK_LEN, WriteOnly::<[u8]>::from(block));
    match feed.pool() {
        Some(pool) => pool.install(|| blocks.into_par_iter().try_for_each(read_block))?,
        None => blocks.into_iter().try_for_each(read_block)?,
    }
    if spec.halo > 0 { read(spec.len, spec.halo, halo) } else { Ok(()) }
}

/// A feed that gives one tile in memory a number of times, and keeps the last measurement.
pub(super) struct MemoryFeed<'a> {
    bytes: &'a [u8],
    spec: TileSpec,
    keys: &'a [ChipKey],
    remaining: AtomicU32,
    pool: Option<&'a WorkerPool>,
    measured: Mutex<Option<TileMeasurement>>,
}

impl<'a> MemoryFeed<'a> {
    pub(super) fn new(bytes: &'a [u8], spec: TileSpec, keys: &'a [ChipKey], times: u32) -> Self {
        let (remaining, measured) = (AtomicU32::new(times), Mutex::default());
        Self { bytes, spec, keys, remaining, pool: None, measured }
    }

    /// Lets these threads read the bytes.
    pub(super) fn with_pool(self, pool: Option<&'a WorkerPool>) -> Self {
        Self { pool, ..self }
    }
}

impl TileFeed for MemoryFeed<'_> {
    type Job = ();
    type Error = std::convert::Infallible;

    fn next(&self) -> Option<()> {
        self.remaining
            .fetch_update(SeqCst, SeqCst, |remaining| remaining.checked_sub(1))
            .ok()
            .map(drop)
    }

    fn spec(&self, (): &()) -> TileSpec {
        self.spec
    }

    fn pool(&self) -> Option<&WorkerPool> {
        self.pool
    }

    fn keys(&self) -> &[ChipKey] {
        self.keys
    }

    fn read(
        &self,
        (): &(),
        range: Range<usize>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Self::Error> {
        sink(&self.bytes[range]);
        Ok(())
    }

    fn done(&self, (): (), measured: TileMeasurement) {
        *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = Some(measured);
    }

    fn failed(&self, (): (), error: Self::Error) {
        match error {}
    }
}
