//! Who gives tiles to a device.

use super::error::GpuError;
use super::spec::TileSpec;
use crate::measure::TileMeasurement;
use crate::measure::chips::ChipKey;
use std::ops::Range;

/// Gives tiles to a device and takes their measurements.
pub trait TileFeed: Sync {
    /// A tile, as the feed knows it.
    type Job: Send + Sync;
    /// Why the bytes of a tile cannot be had.
    type Error: Send;

    /// The next tile; may wait. `None` when there is no more.
    fn next(&self) -> Option<Self::Job>;

    /// What is to be measured.
    fn spec(&self, job: &Self::Job) -> TileSpec;

    /// The threads that read the bytes of a tile; `None`: whoever drives the device does so alone.
    fn pool(&self) -> Option<&rayon::ThreadPool> {
        None
    }

    /// The keys that carriers are correlated with, the same for all tiles.
    fn keys(&self) -> &[ChipKey] {
        &[]
    }

    /// Hands the bytes `range` of the tile, or of what lies behind it, to `sink`, in order, each once. Called from several
    /// threads for disjoint ranges.
    ///
    /// # Errors
    /// Then the tile is given to [`TileFeed::failed`].
    fn read(
        &self,
        job: &Self::Job,
        range: Range<usize>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Self::Error>;

    /// The tile has been measured.
    fn done(&self, job: Self::Job, measured: TileMeasurement);

    /// The bytes of the tile could not be had.
    fn failed(&self, job: Self::Job, error: Self::Error);
}

/// The device failed: these tiles are not measured, all others are.
#[derive(Debug)]
pub struct DeviceFailure<J> {
    /// What happened to the device.
    pub error: GpuError,
    /// The tiles that were in flight.
    pub jobs: Vec<J>,
}
