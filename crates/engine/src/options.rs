//! The options of a run.

use super::device::DeviceChoice;
use super::threads::Threads;
use crate::stream::rate_limiter::RateLimiter;
use std::sync::Arc;

/// The options of a run.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RunOptions {
    /// Which engines measure.
    pub device: DeviceChoice,
    /// The CPU threads that measure.
    pub threads: Threads,
    /// The percentage of tiles, 0 to 100, that both engines measure and compare.
    pub cross_check: f64,
    /// A limit on the bytes that are read per second; `None` for no limit.
    pub rate_limiter: Option<Arc<RateLimiter>>,
    /// Destroys the device after this many tiles, to test how a lost device is handled.
    #[doc(hidden)]
    pub lose_device_after: Option<u64>,
}

impl RunOptions {
    /// Creates options that run on `device` with all CPU threads.
    pub fn new(device: DeviceChoice) -> Self {
        Self { device, ..Self::default() }
    }
}
