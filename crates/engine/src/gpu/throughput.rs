//! The throughput of a kernel or of the whole ring.

use serde::Serialize;

/// A measured throughput.
#[derive(Debug, Clone, Serialize)]
pub struct Throughput {
    /// What was timed: a `resident` kernel, the `copy` of the ring, or the ring `end to end`.
    pub what: String,
    /// The number of bytes per second.
    pub bytes_per_second: f64,
}
