//! Why a run did not complete.

use super::gpu::GpuError;
use crate::stream::files::FileError;

/// Why a run did not complete.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file could not be read, or changed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The device that was asked for is not there or not usable.
    #[error(transparent)]
    Device(#[from] GpuError),
    /// The CPU threads could not be started.
    #[error("cannot start {0} threads: {1}")]
    Threads(usize, String),
    /// The engines measured one copy of the same bytes differently.
    #[error(
        "{path}: the CPU and {adapter} disagree on bytes {start}..{end}: this machine computes wrongly and its results cannot be trusted"
    )]
    Disagree {
        /// The file.
        path: String,
        /// The device.
        adapter: String,
        /// First byte in the file.
        start: u64,
        /// One past the last.
        end: u64,
    },
    /// A tile was lost: a defect of this program, and never a pass.
    #[error("not every byte was measured: this is a defect of tensorseal, please report it")]
    Unmeasured,
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
}
