//! The progress of a run, and the way to stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The progress of a run, shared between the engines that measure and the interface that displays it.
#[derive(Debug, Default)]
pub struct Progress {
    total: AtomicU64,
    done: AtomicU64,
    stop: Arc<AtomicBool>,
}

impl Progress {
    /// Adds to the number of bytes that will be measured.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Relaxed);
    }

    /// Adds to the number of bytes that were measured.
    pub fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Relaxed);
    }

    /// Returns the number of bytes measured so far and the total.
    pub fn position(&self) -> (u64, u64) {
        (self.done.load(Relaxed), self.total.load(Relaxed))
    }

    /// Stops the run, which then returns an error as interrupted.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Returns the flag that [`Progress::stop`] sets, for use in a signal handler.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Returns whether the run was stopped.
    pub fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}
