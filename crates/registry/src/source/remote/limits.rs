//! Timeouts and retry limits of remote requests.

use std::time::Duration;

/// The lowest accepted transfer rate in bytes per second.
const MIN_BYTES_PER_SECOND: u64 = 128 << 10;

/// Timeouts and retry limits of remote requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLimits {
    /// The time limit for opening a connection.
    pub connect: Duration,
    /// The time limit for the start of a response, and between two parts of it.
    pub idle: Duration,
    /// The largest number of attempts, including the first.
    pub attempts: u32,
    /// The pause before the second attempt. The pause doubles with each attempt, and up to half of it is random.
    pub first_pause: Duration,
    /// The longest pause, even if the server asks for a longer one.
    pub longest_pause: Duration,
    /// The time limit for all attempts of a small request. Large transfers get more time.
    pub total: Duration,
}

impl Default for RequestLimits {
    fn default() -> Self {
        RequestLimits {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            attempts: 6,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(20),
            total: Duration::from_secs(180),
        }
    }
}

impl RequestLimits {
    /// Returns the time limit for one attempt to transfer `bytes` bytes.
    pub fn attempt_timeout(&self, bytes: u64) -> Duration {
        self.connect + self.idle + Duration::from_secs(bytes / MIN_BYTES_PER_SECOND)
    }

    /// Returns the time limit for all attempts to transfer `bytes` bytes.
    pub fn total_timeout(&self, bytes: u64) -> Duration {
        self.total + Duration::from_secs(bytes / MIN_BYTES_PER_SECOND)
    }
}
