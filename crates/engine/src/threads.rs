//! The CPU threads of a run: a pool that is started when it is first needed, and ends with its last
//! user.

use super::error::RunError;
use super::worker_pool::WorkerPool;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The CPU threads that measure. Clones share one pool, so that all phases of a command use the same
/// threads.
#[derive(Clone, Default)]
pub struct Threads(Arc<LazyPools>);

#[derive(Default)]
struct LazyPools {
    /// The number of threads; 0 for as many as the system offers.
    requested: usize,
    measuring: OnceLock<Result<WorkerPool, String>>,
    feeding: OnceLock<Result<WorkerPool, String>>,
}

impl Threads {
    /// Requests `count` threads; 0 requests as many as the system offers.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(LazyPools { requested: count, ..LazyPools::default() }))
    }

    /// Returns the number of threads, 1 or more.
    pub fn count(&self) -> usize {
        match self.0.requested {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        }
    }

    /// Returns the pool in which everything is measured, and starts it if necessary.
    ///
    /// # Errors
    /// Returns [`RunError::Threads`] if the threads cannot be started.
    pub fn pool(&self) -> Result<&WorkerPool, RunError> {
        let pool = self.0.measuring.get_or_init(|| WorkerPool::start(self.count(), "measure"));
        pool.as_ref().map_err(|error| RunError::Threads(self.count(), error.clone()))
    }

    /// Returns the pool that fills the buffers of a device; `None` with a single thread, where the thread
    /// that drives the device fills them. The threads of [`Threads::pool`] cannot do so: they measure until
    /// the queue is empty.
    ///
    /// # Errors
    /// Returns [`RunError::Threads`] if the threads cannot be started.
    pub fn feeder_pool(&self) -> Result<Option<&WorkerPool>, RunError> {
        match self.count() {
            1 => Ok(None),
            count => {
                let pool = self.0.feeding.get_or_init(|| WorkerPool::start(count, "feed"));
                pool.as_ref().map(Some).map_err(|error| RunError::Threads(count, error.clone()))
            }
        }
    }
}

impl From<usize> for Threads {
    fn from(count: usize) -> Self {
        Self::new(count)
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Threads").field(&self.0.requested).finish()
    }
}
