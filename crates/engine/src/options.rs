//! What is asked of a run.

use super::device::DeviceChoice;
use super::threads::Threads;
use crate::stream::rate_limiter::RateLimiter;
use std::sync::Arc;

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Which engines.
    pub device: DeviceChoice,
    /// CPU threads.
    pub threads: Threads,
    /// Percentage of tiles, 0 to 100, that the other engine measures again.
    pub cross_check: f64,
    /// A bound on the bytes that are read in a second.
    pub rate_limiter: Option<Arc<RateLimiter>>,
    /// Destroys the device after this many tiles: the test of a device that is lost.
    #[doc(hidden)]
    pub lose_device_after: Option<u64>,
}
