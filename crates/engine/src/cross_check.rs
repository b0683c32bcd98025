//! Selects tiles for both engines to measure, and compares the results (`--cross-check`).

use super::gpu::{DeviceSelector, Gpu, GpuError};
use crate::measure::{BLOCK_LEN, TileMeasurement};
use crate::stream::plan::{Object, Plan};
use crate::stream::queue::Tile;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The result of a comparison.
pub(super) enum CrossCheckOutcome<'a> {
    /// Both engines gave the same measurements.
    Agree,
    /// The engines gave different measurements; this is the name of the device.
    Disagree(&'a str),
}

/// Selects the tiles that both engines measure.
pub(super) struct CrossCheck {
    percent: f64,
    gpu: Option<Arc<Gpu>>,
    seen: AtomicU64,
    agreed: AtomicU64,
}

impl CrossCheck {
    /// Creates a cross-check of a percentage of tiles. `gpu` is the device of the run, if it has one;
    /// otherwise a device is opened for the check alone.
    pub(crate) fn new(percent: f64, gpu: Option<Arc<Gpu>>, plan: &Plan) -> Result<Self, GpuError> {
        let gpu = match gpu {
            None if percent > 0.0 => {
                let gpu = Gpu::open(&DeviceSelector::Any)?;
                gpu.trust(&plan.block_types())?;
                Some(Arc::new(gpu))
            }
            gpu => gpu,
        };
        Ok(Self { percent, gpu, seen: AtomicU64::new(0), agreed: AtomicU64::new(0) })
    }

    /// Returns whether this tile is selected. The selection is evenly spaced over the run.
    pub(crate) fn selects(&self, object: &Object, tile: Tile) -> bool {
        let whole = tile.len.is_multiple_of(BLOCK_LEN) && object.bytes > BLOCK_LEN as u64;
        if self.percent <= 0.0 || !whole {
            return false;
        }
        let turn = self.seen.fetch_add(1, Relaxed) as f64;
        let share = self.percent / 100.0;
        ((turn + 1.0) * share).floor() > (turn * share).floor()
    }

    /// Measures `copy` on the device and compares the result with `measured`, that of the CPU.
    pub(crate) fn compare_on_device(
        &self,
        copy: &[u8],
        tile: Tile,
        object: &Object,
        measured: &TileMeasurement,
        plan: &Plan,
    ) -> Result<CrossCheckOutcome<'_>, GpuError> {
        let Some(gpu) = &self.gpu else { return Ok(CrossCheckOutcome::Agree) };
        if gpu.measure_part(copy, tile.len, tile.start, plan.kernels_for(object), &plan.keys)?
            != *measured
        {
            return Ok(CrossCheckOutcome::Disagree(&gpu.description().name));
        }
        self.record_agreement();
        Ok(CrossCheckOutcome::Agree)
    }

    /// Counts a tile for which both engines gave the same measurements.
    pub(crate) fn record_agreement(&self) {
        self.agreed.fetch_add(1, Relaxed);
    }

    /// Returns the number of tiles for which both engines gave the same measurements.
    pub(crate) fn count(&self) -> u64 {
        self.agreed.load(Relaxed)
    }
}
