//! The interface through which a device receives tiles.

use super::error::GpuError;
use super::spec::TileSpec;
use crate::measure::TileMeasurement;
use crate::measure::chips::ChipKey;
use crate::worker_pool::WorkerPool;
use std::ops::Range;

/// Gives tiles to a device and receives their measurements.
pub trait TileFeed: Sync {
    /// A tile and what the feed keeps about it.
    type Job: Send + Sync;
    /// The error for bytes of a tile that cannot be read.
    type Error: Send;

    /// Returns the next tile, and may wait for it; `None` if there are no more.
    fn next(&self) -> Option<Self::Job>;

    /// Returns what is measured of a tile.
    fn spec(&self, job: &Self::Job) -> TileSpec;

    /// Returns the threads that read the bytes of a tile; `None` if the thread that drives the device
    /// reads them.
    fn pool(&self) -> Option<&WorkerPool> {
        None
    }

    /// Returns the keys that carriers are correlated with, which are the same for all tiles.
    fn keys(&self) -> &[ChipKey] {
        &[]
    }

    /// Hands the bytes `range` of the tile and its halo to `sink`, in order, each once. Called from several
    /// threads for disjoint ranges.
    ///
    /// # Errors
    /// Returns an error if the bytes cannot be read. The tile is then given to [`TileFeed::failed`].
    fn read(
        &self,
        job: &Self::Job,
        range: Range<usize>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Self::Error>;

    /// Receives the measurement of a tile.
    fn done(&self, job: Self::Job, measured: TileMeasurement);

    /// Receives a tile whose bytes could not be read.
    fn failed(&self, job: Self::Job, error: Self::Error);
}

/// The device failed. Only the tiles listed here were not measured.
#[derive(Debug)]
pub struct DeviceFailure<J> {
    /// The error of the device.
    pub error: GpuError,
    /// The tiles that were in flight.
    pub jobs: Vec<J>,
}
