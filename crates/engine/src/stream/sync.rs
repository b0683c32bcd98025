//! What threads meet at: of the standard library, or of `loom`, which tries every order of their steps.

#[cfg(all(test, loom))]
pub use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(all(test, loom)))]
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
