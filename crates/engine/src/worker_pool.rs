//! A pool of CPU threads: the one place that knows the crate behind it.

/// A pool of CPU threads.
#[derive(Debug)]
pub struct WorkerPool(rayon::ThreadPool);

impl WorkerPool {
    /// Starts `count` threads, called `name-0` and so on; the error is that of the system in words.
    pub(crate) fn start(count: usize, name: &'static str) -> Result<Self, String> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(move |i| format!("{name}-{i}"))
            .build()
            .map(WorkerPool)
            .map_err(|error| error.to_string())
    }

    /// Runs `work` in the pool and returns its result. Parallel iterators of rayon that `work` uses run
    /// on the threads of this pool.
    ///
    /// # Panics
    /// Panics if `work` does.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.install(work)
    }

    /// Runs `work` once on every thread, and waits until all have ended.
    pub(crate) fn broadcast(&self, work: impl Fn() + Sync) {
        self.0.broadcast(|_| work());
    }

    /// The number of threads.
    pub(crate) fn thread_count(&self) -> usize {
        self.0.current_num_threads()
    }
}
