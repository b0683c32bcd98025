//! `--cross-check`: tiles that both engines measure.

use super::gpu::{DeviceSelector, Gpu, GpuError};
use crate::measure::{BLOCK_LEN, TileMeasurement};
use crate::stream::plan::{Object, Plan};
use crate::stream::queue::Tile;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a check found.
pub(super) enum CrossCheckOutcome<'a> {
    /// Both engines measured the same.
    Agree,
    /// They did not; the name of the device.
    Disagree(&'a str),
}

/// Chooses tiles to be measured by both engines.
pub(super) struct CrossCheck {
    percent: f64,
    gpu: Option<Arc<Gpu>>,
    seen: AtomicU64,
    agreed: AtomicU64,
}

impl CrossCheck {
    /// `gpu`: the device of the run, if it has one; otherwise one is opened for the check alone.
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

    /// Whether this tile is one of the share. Evenly spaced, so that any share of a long run has
    /// tiles from all of it.
    pub(crate) fn selects(&self, object: &Object, tile: Tile) -> bool {
        let whole = tile.len.is_multiple_of(BLOCK_LEN) && object.bytes > BLOCK_LEN as u64;
        if self.percent <= 0.0 || !whole {
            return false;
        }
        let turn = self.seen.fetch_add(1, Relaxed) as f64;
        let share = self.percent / 100.0;
        ((turn + 1.0) * share).floor() > (turn * share).floor()
    }

    /// Measures `copy` on the device and compares with what the CPU found.
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

    /// Counts a tile that both engines agree on.
    pub(crate) fn record_agreement(&self) {
        self.agreed.fetch_add(1, Relaxed);
    }

    /// Tiles that both engines agreed on.
    pub(crate) fn count(&self) -> u64 {
        self.agreed.load(Relaxed)
    }
}
