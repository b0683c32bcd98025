//! The threads that drive network connections. They are started when they are first needed.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use tensorseal_format::RemoteError;
use tokio::runtime::{Builder, Runtime};

/// The number of threads that drive connections.
const WORKERS: usize = 2;

/// The largest number of threads that fetch ahead of readers. Further fetches are queued.
const MAX_BLOCKING: usize = 32;

/// The network threads of one source. Clones share the threads, which end when the last clone is dropped.
#[derive(Debug, Clone, Default)]
pub struct NetworkRuntime(Arc<RuntimeCell>);

/// The runtime, or the reason why it could not be started.
#[derive(Debug, Default)]
struct RuntimeCell(OnceLock<Result<Runtime, String>>);

impl Drop for RuntimeCell {
    fn drop(&mut self) {
        if let Some(Ok(runtime)) = self.0.take() {
            // The last clone may be dropped on one of these threads, so this must not wait for them.
            runtime.shutdown_background();
        }
    }
}

impl NetworkRuntime {
    fn runtime(&self) -> Result<&Runtime, RemoteError> {
        let start = || {
            Builder::new_multi_thread()
                .worker_threads(WORKERS)
                .max_blocking_threads(MAX_BLOCKING)
                .thread_name("remote")
                .enable_all()
                .build()
                .map_err(|error| error.to_string())
        };
        self.0.0.get_or_init(start).as_ref().map_err(|error| {
            RemoteError::Unavailable(format!("cannot start the network threads: {error}"))
        })
    }

    /// Blocks until `future` completes. This must not be called from a task of the runtime, only from other threads and from
    /// functions that [`NetworkRuntime::spawn_blocking`] runs.
    ///
    /// # Errors
    /// Returns [`RemoteError::Unavailable`] if the threads cannot be started.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, RemoteError> {
        Ok(self.runtime()?.handle().block_on(future))
    }

    /// Runs `work` in the context of the runtime, which is needed to create clients.
    ///
    /// # Errors
    /// Returns [`RemoteError::Unavailable`] if the threads cannot be started.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> Result<T, RemoteError> {
        let _entered = self.runtime()?.enter();
        Ok(work())
    }

    /// Runs `work`, which may block, on a background thread. Returns `false` if the threads cannot be started.
    pub fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) -> bool {
        match self.runtime() {
            Ok(runtime) => {
                drop(runtime.spawn_blocking(work));
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn threads_end_with_their_source() {
        struct NotifyOnDrop(mpsc::Sender<()>);
        impl Drop for NotifyOnDrop {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (sender, ended) = mpsc::channel();
        let runtime = NetworkRuntime::default();
        let other = runtime.clone();
        let notifier = NotifyOnDrop(sender);
        let task = async move {
            let _notifier = notifier;
            std::future::pending::<()>().await;
        };
        runtime.enter(|| drop(tokio::spawn(task))).unwrap();
        drop(runtime);
        assert_eq!(other.block_on(async { 7 }).unwrap(), 7);
        assert!(ended.try_recv().is_err(), "a clone keeps the threads");
        drop(other);
        ended.recv_timeout(Duration::from_secs(20)).unwrap();
    }

    /// A background thread may drop the last clone.
    #[test]
    fn a_background_thread_may_drop_the_last_clone() {
        let (sender, done) = mpsc::channel();
        let runtime = NetworkRuntime::default();
        let (clone, (go, gone)) = (runtime.clone(), mpsc::channel::<()>());
        assert!(runtime.spawn_blocking(move || {
            let _ = gone.recv();
            drop(clone);
            let _ = sender.send(());
        }));
        drop(runtime);
        drop(go);
        done.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}
