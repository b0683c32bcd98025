//! Engines: who measures the tiles of a plan.
//!
//! [`cpu`] measures on the processor, [`gpu`] on a device through wgpu, and [`run()`] puts either or
//! both on one queue. [`collect`] merges what they return; because measurements are integers that
//! merge associatively, it does not matter who measured what. [`hash_files`] digests files and does nothing
//! else. Everything runs in the [`Threads`] of its options.

pub mod collect;
pub mod cpu;
mod cross_check;
pub mod device;
mod driver;
mod error;
mod files;
pub mod gpu;
pub mod measure;
mod options;
mod report;
mod run;
mod shared;
pub mod stream;
mod threads;

pub use error::RunError;
pub use files::hash_files;
pub use options::RunOptions;
pub use report::{BrokenChecksum, EngineUse, FinishedFile, RunReport, Told};
pub use run::{run, run_told};
pub use threads::Threads;
