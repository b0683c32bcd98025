//! Files of other machines: how their bytes are asked for, kept for a moment, and shared.
//!
//! - [`limits`]: how long another machine is waited for, and how often it is asked again.
//! - [`runtime`]: the threads that wait for it.
//! - [`retry`]: which failures pass, and the pauses between attempts.
//! - [`http`]: requests over plain HTTP, their answers bounded.
//! - [`stream`]: answers that are read once, in order.
//! - [`window_cache`]: what was fetched, shared by everyone who reads it.

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
