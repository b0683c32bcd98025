//! Files of other machines: how their bytes are asked for, kept for a moment, and shared.
//!
//! - [`limits`]: how long another machine is waited for, and how often it is asked again.
//! - [`runtime`]: the threads that wait for it.
//! - [`retry`]: which failures pass, and the pauses between attempts.
//! - [`http`]: requests over plain HTTP, their answers bounded.
//! - [`stream`]: answers that are read once, in order.
//! - [`windows`]: what was fetched, shared by everyone who reads it.

mod ask;
pub mod http;
pub mod limits;
pub mod retry;
pub mod runtime;
pub mod stream;
mod tls;
pub mod windows;

pub use ask::ask;
pub use limits::Limits;
pub use runtime::Waiting;
pub use windows::{Fetch, Windowed, Windows};
