//! The threads that wait for other machines: started when first needed, two whatever is asked of them.

use crate::checkpoint::RemoteError;
use std::future::Future;
use std::io;
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};

/// Threads that drive connections.
const DRIVERS: usize = 2;

/// Fetches ahead of a reader that may wait at once; more of them wait in line.
const WAITING: usize = 32;

static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    // An error means that another one is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Builder::new_multi_thread()
        .worker_threads(DRIVERS)
        .max_blocking_threads(WAITING)
        .thread_name("remote")
        .enable_all()
        .build()
});

fn runtime() -> Result<&'static Runtime, RemoteError> {
    RUNTIME.as_ref().map_err(|error| {
        RemoteError::Unavailable(format!("no threads for network connections: {error}"))
    })
}

/// Waits for `future`. Not to be called from a task of the runtime, only from threads of their own and
/// from what [`in_background`] runs.
///
/// # Errors
/// [`RemoteError::Unavailable`] when there can be no threads.
pub fn block_on<F: Future>(future: F) -> Result<F::Output, RemoteError> {
    Ok(runtime()?.handle().block_on(future))
}

/// Has the runtime entered while `work` makes clients, which look for it, and for TLS.
///
/// # Errors
/// As for [`block_on`].
pub fn within<T>(work: impl FnOnce() -> T) -> Result<T, RemoteError> {
    let _entered = runtime()?.enter();
    Ok(work())
}

/// Runs `work`, which may wait, beside everything else; `false`: there can be no threads.
pub fn in_background(work: impl FnOnce() + Send + 'static) -> bool {
    match runtime() {
        Ok(runtime) => {
            drop(runtime.spawn_blocking(work));
            true
        }
        Err(_) => false,
    }
}
