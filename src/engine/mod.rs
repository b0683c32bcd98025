//! Engines: who measures the tiles of a plan.
//!
//! [`cpu`] measures on the processor, [`gpu`] on a device through wgpu, and [`run()`] puts either or
//! both on one queue. [`collect`] merges what they return; because measurements are integers that
//! merge associatively, it does not matter who measured what. [`hash_files`] digests files and does nothing
//! else.

pub mod collect;
pub mod cpu;
pub mod device;
mod files;
pub mod gpu;
mod run;
mod shared;

pub use files::hash_files;
pub use run::{
    BrokenChecksum, EngineUse, FinishedFile, RunError, RunOptions, RunReport, Told, run, run_told,
    thread_pool,
};
