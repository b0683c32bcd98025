//! The threads that wait for other machines: started when first needed, two whatever is asked of them.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use tensorseal_format::RemoteError;
use tokio::runtime::{Builder, Runtime};

/// Threads that drive connections.
const DRIVERS: usize = 2;

/// Fetches ahead of a reader that may wait at once; more of them wait in line.
const WAITING: usize = 32;

/// The threads of one source. Clones share them, and they end with the last of those.
#[derive(Debug, Clone, Default)]
pub struct NetworkRuntime(Arc<RuntimeCell>);

/// `Err`: why there are none.
#[derive(Debug, Default)]
struct RuntimeCell(OnceLock<Result<Runtime, String>>);

impl Drop for RuntimeCell {
    fn drop(&mut self) {
        if let Some(Ok(runtime)) = self.0.take() {
            // Whoever is last may be one of them: nobody is waited for.
            runtime.shutdown_background();
        }
    }
}

impl NetworkRuntime {
    fn runtime(&self) -> Result<&Runtime, RemoteError> {
        let start = || {
            Builder::new_multi_thread()
                .worker_threads(DRIVERS)
                .max_blocking_threads(WAITING)
                .thread_name("remote")
                .enable_all()
                .build()
                .map_err(|error| error.to_string())
        };
        self.0.0.get_or_init(start).as_ref().map_err(|error| {
            RemoteError::Unavailable(format!("no threads for network connections: {error}"))
        })
    }

    /// Waits for `future`. Not to be called from a task of these threads, only from threads of their own
    /// and from what [`NetworkRuntime::spawn_blocking`] runs.
    ///
    /// # Errors
    /// [`RemoteError::Unavailable`] when there can be no threads.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, RemoteError> {
        Ok(self.runtime()?.handle().block_on(future))
    }

    /// Has the threads known while `work` makes clients, which look for them.
    ///
    /// # Errors
    /// As for [`NetworkRuntime::block_on`].
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> Result<T, RemoteError> {
        let _entered = self.runtime()?.enter();
        Ok(work())
    }

    /// Runs `work`, which may wait, beside everything else; `false`: there can be no threads.
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
        let waiting = NetworkRuntime::default();
        let other = waiting.clone();
        let told = NotifyOnDrop(sender);
        let task = async move {
            let _told = told;
            std::future::pending::<()>().await;
        };
        waiting.enter(|| drop(tokio::spawn(task))).unwrap();
        drop(waiting);
        assert_eq!(other.block_on(async { 7 }).unwrap(), 7);
        assert!(ended.try_recv().is_err(), "a clone keeps them");
        drop(other);
        ended.recv_timeout(Duration::from_secs(20)).unwrap();
    }

    /// What waits in the background may be the last to hold them.
    #[test]
    fn the_last_may_be_one_of_them() {
        let (sender, done) = mpsc::channel();
        let waiting = NetworkRuntime::default();
        let (held, (go, gone)) = (waiting.clone(), mpsc::channel::<()>());
        assert!(waiting.spawn_blocking(move || {
            let _ = gone.recv();
            drop(held);
            let _ = sender.send(());
        }));
        drop(waiting);
        drop(go);
        done.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}
