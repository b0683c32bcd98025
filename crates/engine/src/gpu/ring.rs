//! Several tiles in flight: while one computes, the next is copied and the one before is read.

use super::correlation::DeviceKeys;
use super::device::Gpu;
use super::error::GpuError;
use super::feed::{DeviceFailure, TileFeed};
use super::spec::TileSpec;
use super::tile::TileBuffers;
use crate::measure::chips::ChipKey;
use crate::measure::{BLOCK_LEN, KernelSet, TILE_LEN, TileMeasurement};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use tensorseal_base::quantised::HALO_LEN;
use wgpu::{CommandEncoderDescriptor, MapMode, SubmissionIndex, WriteOnly};

/// Tiles in flight: one is filled, one copied, one computed.
const SLOTS: usize = 3;

/// A tile in flight.
struct InFlight<J> {
    slot: TileBuffers,
    job: J,
    spec: TileSpec,
    submission: SubmissionIndex,
    staging: BufferMapping,
    readbacks: Vec<BufferMapping>,
}

/// The outcome of a mapping that was asked for: 0 not yet, 1 mapped, 2 failed.
#[derive(Clone, Default)]
struct BufferMapping(Arc<AtomicU8>);

impl BufferMapping {
    fn request(buffer: &wgpu::Buffer, mode: MapMode, bytes: Range<u64>) -> Self {
        let mapping = Self::default();
        let told = mapping.clone();
        buffer.slice(bytes).map_async(mode, move |result| {
            told.0.store(if result.is_ok() { 1 } else { 2 }, SeqCst);
        });
        mapping
    }

    fn check(&self, what: &str) -> Result<(), GpuError> {
        match self.0.load(SeqCst) {
            1 => Ok(()),
            2 => Err(GpuError::Lost(format!("its {what} buffer could not be mapped"))),
            _ => Err(GpuError::Failed(format!("its {what} buffer was not mapped in time"))),
        }
    }
}

/// A tile that did not get under way, with everything that goes back.
struct FailedTile<F: TileFeed> {
    error: StartError<F::Error>,
    slot: TileBuffers,
    job: F::Job,
}

/// Why a tile did not get under way.
enum StartError<E> {
    Device(GpuError),
    Bytes(E),
}

impl Gpu {
    /// Measures every tile of `feed`, several in flight.
    ///
    /// # Errors
    /// When the device fails; the tiles that were in flight come back.
    pub fn stream<F: TileFeed>(&self, feed: &F) -> Result<(), DeviceFailure<F::Job>> {
        self.stream_with(feed, true)
    }

    /// The ring without its kernels: how fast bytes get to the device at all. The measurements it
    /// returns are those of nothing.
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
            if more && flight.len() < SLOTS {
                let Some(job) = feed.next() else {
                    more = false;
                    continue;
                };
                // Slots come into being when they are needed: a short run has one.
                let slot = match free.pop() {
                    Some(slot) => slot,
                    None => match self.new_slot(&keys) {
                        Ok(slot) => slot,
                        Err(error) => break Some((error, Some(job))),
                    },
                };
                match self.start(feed, slot, job, kernels) {
                    Ok(tile) => flight.push_back(tile),
                    Err(returned) => {
                        let FailedTile { error, slot, job } = *returned;
                        match error {
                            StartError::Bytes(error) => {
                                free.push(slot);
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
                        free.push(done.slot);
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

    fn new_slot(&self, keys: &DeviceKeys) -> Result<TileBuffers, GpuError> {
        let slot = TileBuffers::new(self, keys);
        self.check()?;
        // Fresh staging is not mapped yet; later it is mapped again as soon as it was copied.
        let mapping = BufferMapping::request(&slot.staging, MapMode::Write, 0..slot.staging.size());
        let _ = self.device.poll(wgpu::PollType::Poll);
        self.check()?;
        mapping.check("staging")?;
        Ok(slot)
    }

    fn start<F: TileFeed>(
        &self,
        feed: &F,
        mut slot: TileBuffers,
        job: F::Job,
        kernels: bool,
    ) -> Result<InFlight<F::Job>, Box<FailedTile<F>>> {
        let spec = feed.spec(&job);
        debug_assert!(spec.len.is_multiple_of(BLOCK_LEN) && spec.len <= TILE_LEN && spec.len > 0);
        debug_assert!(spec.halo <= HALO_LEN);
        if let Err(error) = slot.fit(self, &spec) {
            return Err(Box::new(FailedTile { error: StartError::Device(error), slot, job }));
        }
        if let Err(error) = fill(feed, &slot, &job, &spec) {
            return Err(Box::new(FailedTile { error, slot, job }));
        }
        slot.staging.unmap();
        let mut encoder = self.device.create_command_encoder(&CommandEncoderDescriptor::default());
        slot.upload(&mut encoder, &spec);
        if kernels {
            slot.measure(self, &mut encoder, &spec);
        }
        slot.download(&mut encoder, &spec);
        let submission = self.queue.submit([encoder.finish()]);
        if let Err(error) = self.check() {
            return Err(Box::new(FailedTile { error: StartError::Device(error), slot, job }));
        }
        let staging = BufferMapping::request(&slot.staging, MapMode::Write, 0..slot.staging.size());
        let read = |buffer: &&wgpu::Buffer| {
            BufferMapping::request(buffer, MapMode::Read, 0..buffer.size())
        };
        let readbacks = slot.readbacks(&spec).iter().map(read).collect();
        Ok(InFlight { slot, job, spec, submission, staging, readbacks })
    }

    fn finish<J>(&self, tile: &InFlight<J>) -> Result<TileMeasurement, GpuError> {
        self.wait(&tile.submission)?;
        tile.readbacks.iter().try_for_each(|mapping| mapping.check("read-back"))?;
        tile.staging.check("staging")?;
        tile.slot.results(&tile.spec)
    }

    /// Measures one tile and waits for it. `bytes` is a whole number of blocks, at most a tile, at
    /// `offset` of its object.
    ///
    /// # Errors
    /// When the device fails, or `bytes` is not such a tile.
    pub fn measure_tile(
        &self,
        bytes: &[u8],
        offset: u64,
        wanted: KernelSet,
        keys: &[ChipKey],
    ) -> Result<TileMeasurement, GpuError> {
        self.measure_part(bytes, bytes.len(), offset, wanted, keys)
    }

    /// As [`Gpu::measure_tile`], of a tile of `len` bytes in front of what lies behind it in its object.
    ///
    /// # Errors
    /// When the device fails, or these are no such tile.
    pub fn measure_part(
        &self,
        bytes: &[u8],
        len: usize,
        offset: u64,
        wanted: KernelSet,
        keys: &[ChipKey],
    ) -> Result<TileMeasurement, GpuError> {
        if len == 0 || len > TILE_LEN || !len.is_multiple_of(BLOCK_LEN) {
            return Err(GpuError::Failed(format!("{len} bytes are not a tile of whole blocks")));
        }
        let halo = bytes.len().saturating_sub(len);
        if bytes.len() < len || halo > HALO_LEN {
            return Err(GpuError::Failed(format!("{halo} bytes behind a tile are too many")));
        }
        let spec = TileSpec { offset, len, halo, kernels: wanted };
        let feed = MemoryFeed::new(bytes, spec, keys, 1);
        self.stream(&feed).map_err(|interrupted| interrupted.error)?;
        let measured = feed.measured.into_inner().unwrap_or_else(PoisonError::into_inner);
        measured.ok_or_else(|| GpuError::Failed("the tile was not measured".to_owned()))
    }
}

/// Fills the mapped staging buffer block by block, from the threads of the feed.
fn fill<F: TileFeed>(
    feed: &F,
    slot: &TileBuffers,
    job: &F::Job,
    spec: &TileSpec,
) -> Result<(), StartError<F::Error>> {
    let mut view = slot
        .staging
        .slice(..spec.copied())
        .get_mapped_range_mut()
        .map_err(|error| StartError::Device(GpuError::Failed(error.to_string())))?;
    // The memory may be write-combined or behind the bus: it is only ever written, in order.
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

/// A feed of one tile from memory, given a number of times; keeps the last measurement.
pub(super) struct MemoryFeed<'a> {
    bytes: &'a [u8],
    spec: TileSpec,
    keys: &'a [ChipKey],
    left: AtomicU32,
    pool: Option<&'a rayon::ThreadPool>,
    measured: Mutex<Option<TileMeasurement>>,
}

impl<'a> MemoryFeed<'a> {
    pub(super) fn new(bytes: &'a [u8], spec: TileSpec, keys: &'a [ChipKey], times: u32) -> Self {
        let (left, measured) = (AtomicU32::new(times), Mutex::default());
        Self { bytes, spec, keys, left, pool: None, measured }
    }

    /// As it is, read by these threads.
    pub(super) fn with_pool(self, pool: Option<&'a rayon::ThreadPool>) -> Self {
        Self { pool, ..self }
    }
}

impl TileFeed for MemoryFeed<'_> {
    type Job = ();
    type Error = std::convert::Infallible;

    fn next(&self) -> Option<()> {
        self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).ok().map(drop)
    }

    fn spec(&self, (): &()) -> TileSpec {
        self.spec
    }

    fn pool(&self) -> Option<&rayon::ThreadPool> {
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
