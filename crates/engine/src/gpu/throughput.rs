//! How fast something is.

use serde::Serialize;

/// One timed thing.
#[derive(Debug, Clone, Serialize)]
pub struct Throughput {
    /// What was timed: `resident` kernels, the `copy` of the ring, the ring `end to end`.
    pub what: String,
    /// Bytes of tile a second.
    pub bytes_per_second: f64,
}
