//! The error of a run.

use super::gpu::GpuError;
use crate::stream::files::FileError;

/// A run did not complete; none of its measurements may be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A file could not be read, or changed while it was read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The requested device was not found or cannot be used.
    #[error(transparent)]
    Device(#[from] GpuError),
    /// This number of CPU threads could not be started, for the reason that the system gave.
    #[error("cannot start {0} threads: {1}; use fewer threads")]
    Threads(usize, String),
    /// The engines gave different measurements of the same bytes.
    #[error(
        "{path}: the CPU and {adapter} gave different results for bytes {start}..{end}; the hardware or its driver is faulty, do not trust results from this machine"
    )]
    Disagree {
        /// The path of the file in the model.
        path: String,
        /// The name of the device.
        adapter: String,
        /// The position of the first byte in the file.
        start: u64,
        /// The position after the last byte.
        end: u64,
    },
    /// A tile was not measured, which is a bug in this program.
    #[error("not every byte was measured; this is a bug in tensorseal, please report it")]
    Unmeasured,
    /// The run was stopped through [`Progress::stop`](crate::stream::progress::Progress::stop).
    #[error("interrupted")]
    Interrupted,
}
