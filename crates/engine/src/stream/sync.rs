//! The synchronisation primitives of the standard library, or those of `loom`, which tries every order
//! of the steps of threads.

#[cfg(all(test, loom))]
pub(super) use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(all(test, loom)))]
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
