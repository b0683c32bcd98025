//! The error of a device.

/// A device cannot be used, or failed during a run.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// This build has no GPU engine.
    #[error(
        "this build of tensorseal has no GPU engine; use --device cpu, or build it with the feature `gpu`"
    )]
    NotBuiltIn,
    /// There is no adapter.
    #[error(
        "no GPU found; install its Vulkan driver, or `mesa-vulkan-drivers` for a software device, or use --device cpu"
    )]
    NoAdapter,
    /// No adapter has the requested name.
    #[error(
        "no device has {requested:?} in its name; available: {available} (see `tensorseal devices`)"
    )]
    NotFound {
        /// The requested name.
        requested: String,
        /// The names of the available adapters.
        available: String,
    },
    /// A limit of the adapter is too small for the kernels.
    #[error("{name}: the limit {limit} is {has}, but the kernels need {needs}; use --device cpu")]
    Limits {
        /// The name of the adapter.
        name: String,
        /// The name of the limit.
        limit: &'static str,
        /// The value of the adapter.
        has: u64,
        /// The value that the kernels need.
        needs: u64,
    },
    /// A kernel gives other results than its CPU twin.
    #[error(
        "{name}: the kernel `{kernel}` failed its known-answer test, so this device gives wrong results; use --device cpu"
    )]
    SelfTest {
        /// The name of the adapter.
        name: String,
        /// The name of the kernel.
        kernel: &'static str,
    },
    /// The device was lost: removed, reset, or destroyed.
    #[error("the device was lost ({0})")]
    Lost(String),
    /// The device has no memory left.
    #[error("the device is out of memory")]
    OutOfMemory,
    /// The device does not answer.
    #[error("the device did not finish a tile within {0} seconds")]
    Timeout(u64),
    /// Any other error of the graphics interface.
    #[error("the device failed: {0}")]
    Failed(String),
}
