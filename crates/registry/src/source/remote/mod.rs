//! Access to remote files: requests with retries, and a cache that all readers share.
//!
//! - [`limits`]: timeouts and retry limits.
//! - [`runtime`]: the threads that drive the connections.
//! - [`retry`]: which failures are retried, and the pauses between attempts.
//! - [`http`]: an HTTP client with limits.
//! - [`stream`]: responses that are read once, in order.
//! - [`window_cache`]: a cache of fetched windows.

pub mod http;
pub mod limits;
mod ping;
pub mod retry;
pub mod runtime;
pub mod stream;
mod tls;
pub mod window_cache;

pub use limits::RequestLimits;
pub use ping::ping;
pub use runtime::NetworkRuntime;
pub use window_cache::{FetchRange, WindowCache, WindowedFile};
