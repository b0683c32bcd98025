//! Reading no faster than was allowed.

use super::progress::Progress;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest sleep between two looks at whether to stop.
const NAP: Duration = Duration::from_millis(100);

/// A bound on the bytes that are read in a second, over all threads that share it.
#[derive(Debug)]
pub struct RateLimiter {
    bytes_per_second: u64,
    /// When the bytes that were handed out until now are paid for.
    paid: Mutex<Option<Instant>>,
}

impl RateLimiter {
    /// At most so many bytes a second, and at least one.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid: Mutex::default() }
    }

    /// Waits until bytes that were read are paid for, or the run is to stop.
    pub fn throttle(&self, bytes: u64, progress: &Progress) {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let due = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            // Time in which nothing was read is not saved up.
            let due = paid.map_or(now, |paid| paid.max(now)) + cost;
            *paid = Some(due);
            due
        };
        while !progress.stopped() {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four threads together are no faster than one.
    #[test]
    fn threads_share_it() {
        let (pace, progress) = (RateLimiter::new(1 << 20), Progress::default());
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..4).for_each(|_| pace.throttle(8 << 10, &progress)));
            }
        });
        assert!(started.elapsed() >= Duration::from_millis(124), "{:?}", started.elapsed());
    }

    #[test]
    fn nobody_waits_who_is_to_stop() {
        let (pace, progress) = (RateLimiter::new(1), Progress::default());
        progress.stop();
        pace.throttle(u64::MAX >> 20, &progress);
    }
}
