//! Why a device cannot be used, or no longer.

/// Why a device cannot be used, or no longer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GpuError {
    /// This build has no engine for one.
    #[error(
        "this build of tensorseal measures on the CPU alone: use --device cpu, or build it with the feature gpu"
    )]
    NotBuiltIn,
    /// There is no adapter at all.
    #[error(
        "no GPU found: install its Vulkan driver, or `mesa-vulkan-drivers` for the software one, or use --device cpu"
    )]
    NoAdapter,
    /// None has this name.
    #[error("no device has {wanted:?} in its name; there are: {available} (`tensorseal devices`)")]
    NotFound {
        /// The name asked for.
        wanted: String,
        /// The names there are.
        available: String,
    },
    /// Its limits are too small for the kernels.
    #[error("{name}: its limit {limit} is {has}, the kernels need {needs}")]
    Limits {
        /// The adapter.
        name: String,
        /// The limit.
        limit: &'static str,
        /// Its value.
        has: u64,
        /// What is needed.
        needs: u64,
    },
    /// It computes something else than the CPU.
    #[error(
        "{name}: its kernel `{kernel}` fails the known-answer test: it would measure wrongly, use --device cpu"
    )]
    SelfTest {
        /// The adapter.
        name: String,
        /// The kernel.
        kernel: &'static str,
    },
    /// It was lost: removed, reset, or destroyed.
    #[error("the device was lost ({0})")]
    Lost(String),
    /// It has no memory left.
    #[error("the device is out of memory")]
    OutOfMemory,
    /// It does not answer.
    #[error("the device did not finish a tile in {0} seconds")]
    Timeout(u64),
    /// Anything else that the graphics interface reports.
    #[error("the device failed: {0}")]
    Failed(String),
}
