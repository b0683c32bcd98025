//! How long another machine is waited for, and how often it is asked again.

use std::time::Duration;

/// The slowest that an answer may come, in bytes a second.
const SLOWEST: u64 = 128 << 10;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLimits {
    /// For a connection to be made.
    pub connect: Duration,
    /// For an answer to begin, and between two pieces of it.
    pub idle: Duration,
    /// How often one thing is asked for, the first time included.
    pub attempts: u32,
    /// The pause before the second attempt. Each one after it is twice as long, and a part of it is left to
    /// chance.
    pub first_pause: Duration,
    /// The longest pause, also where the other machine asks for a longer one.
    pub longest_pause: Duration,
    /// For one thing with all of its attempts, where the size of it does not ask for more.
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
    /// For one attempt at an answer of so many bytes.
    pub fn attempt_timeout(&self, bytes: u64) -> Duration {
        self.connect + self.idle + Duration::from_secs(bytes / SLOWEST)
    }

    /// For all attempts at an answer of so many bytes.
    pub fn total_timeout(&self, bytes: u64) -> Duration {
        self.total + Duration::from_secs(bytes / SLOWEST)
    }
}
