//! How far a run is, for whoever wants to draw it, and the way to stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Shared between the engines that measure and the interface that watches.
#[derive(Debug, Default)]
pub struct Progress {
    total: AtomicU64,
    done: AtomicU64,
    stop: Arc<AtomicBool>,
}

impl Progress {
    /// Bytes to measure, added when a run is planned.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Relaxed);
    }

    /// Bytes measured.
    pub fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Relaxed);
    }

    /// Bytes measured so far and bytes to measure in all.
    pub fn position(&self) -> (u64, u64) {
        (self.done.load(Relaxed), self.total.load(Relaxed))
    }

    /// Asks the run to end early, as interrupted.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// The flag behind [`Progress::stop`], for a signal handler to set.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Whether the run was asked to end early.
    pub fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}
