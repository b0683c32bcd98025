//! The CPU threads of a run: one pool, started when it is first needed and kept until nobody holds it.

use super::error::RunError;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// CPU threads that measure. Clones share them: whatever is measured for one command takes one of these
/// along, so that its phases have the same threads, and no others.
#[derive(Clone, Default)]
pub struct Threads(Arc<ThreadPools>);

#[derive(Default)]
struct ThreadPools {
    /// 0: as many as the system offers.
    requested: usize,
    measuring: OnceLock<Result<ThreadPool, String>>,
    feeding: OnceLock<Result<ThreadPool, String>>,
}

impl Threads {
    /// So many; 0: as many as the system offers.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(ThreadPools { requested: count, ..ThreadPools::default() }))
    }

    /// How many.
    pub fn count(&self) -> usize {
        match self.0.requested {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        }
    }

    /// The pool that everything parallel runs in.
    ///
    /// # Errors
    /// [`RunError::Threads`].
    pub fn pool(&self) -> Result<&ThreadPool, RunError> {
        let pool = self.0.measuring.get_or_init(|| started(self.count(), "measure"));
        pool.as_ref().map_err(|error| RunError::Threads(self.count(), error.clone()))
    }

    /// Those that fill the buffers of a device, while the others measure until the queue is empty and would
    /// not come to it; `None` of a single thread: whoever drives the device fills them.
    ///
    /// # Errors
    /// [`RunError::Threads`].
    pub fn feeder_pool(&self) -> Result<Option<&ThreadPool>, RunError> {
        match self.count() {
            1 => Ok(None),
            count => {
                let pool = self.0.feeding.get_or_init(|| started(count, "feed"));
                pool.as_ref().map(Some).map_err(|error| RunError::Threads(count, error.clone()))
            }
        }
    }
}

fn started(count: usize, name: &'static str) -> Result<ThreadPool, String> {
    ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(move |i| format!("{name}-{i}"))
        .build()
        .map_err(|error| error.to_string())
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
