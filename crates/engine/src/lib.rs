//! The engines that measure the tiles of a plan.
//!
//! [`cpu`] measures on the processor, [`gpu`] on a device through wgpu, and [`run()`] puts either or
//! both on one queue. [`collect`] merges the results. Measurements are integers that merge
//! associatively, so the merged values do not depend on which engine measured which tile.
//! [`hash_files`] only computes the digests of files. All CPU work runs in the [`Threads`] of the
//! options.

pub mod collect;
pub mod cpu;
mod cross_check;
pub mod device;
mod driver;
mod error;
mod file_hashing;
pub mod gpu;
pub mod measure;
mod options;
mod report;
mod run;
mod run_state;
pub mod stream;
mod threads;
mod worker_pool;

pub use error::RunError;
pub use file_hashing::hash_files;
pub use options::RunOptions;
pub use report::{BrokenChecksum, EngineUse, FileMeasurement, RunObserver, RunReport};
pub use run::{run, run_observed};
pub use threads::Threads;
pub use worker_pool::WorkerPool;
