//! Limits how fast a model is read.

use super::progress::Progress;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest sleep between two checks for interruption.
const MAX_SLEEP: Duration = Duration::from_millis(100);

/// A limit on the bytes that are read per second, by all threads that share it.
#[derive(Debug)]
pub struct RateLimiter {
    bytes_per_second: u64,
    /// When the bytes that were read so far are paid for.
    paid: Mutex<Option<Instant>>,
}

impl RateLimiter {
    /// Creates a limit of `bytes_per_second`; 0 counts as 1.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid: Mutex::default() }
    }

    /// Waits until `bytes` that were read are paid for, or until the run is stopped.
    pub fn throttle(&self, bytes: u64, progress: &Progress) {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let due = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            // Idle time is not credited.
            let due = paid.map_or(now, |paid| paid.max(now)) + cost;
            *paid = Some(due);
            due
        };
        while !progress.stopped() {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(MAX_SLEEP));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four threads together are not faster than one.
    #[test]
    fn threads_share_it() {
        let (limiter, progress) = (RateLimiter::new(1 << 20), Progress::default());
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..4).for_each(|_| limiter.throttle(8 << 10, &progress)));
            }
        });
        assert!(started.elapsed() >= Duration::from_millis(124), "{:?}", started.elapsed());
    }

    #[test]
    fn a_stopped_run_does_not_wait() {
        let (limiter, progress) = (RateLimiter::new(1), Progress::default());
        progress.stop();
        limiter.throttle(u64::MAX >> 20, &progress);
    }
}
