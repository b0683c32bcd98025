//! Retries requests: which failures are transient, and the pauses between attempts.

use super::limits::RequestLimits;
use super::runtime::NetworkRuntime;
use std::error::Error;
use std::future::Future;
use std::time::{Duration, Instant};
use tensorseal_format::RemoteError;

/// An error of one attempt.
#[derive(Debug, Clone)]
pub enum AttemptError {
    /// Another attempt would fail in the same way.
    Permanent(RemoteError),
    /// Another attempt may succeed: the server is busy, or the connection was lost.
    Transient {
        /// The reason, without credentials.
        reason: String,
        /// The pause that the server asks for.
        retry_after: Option<Duration>,
    },
}

impl AttemptError {
    /// Creates a transient error.
    pub fn transient(reason: impl Into<String>) -> AttemptError {
        AttemptError::Transient { reason: reason.into(), retry_after: None }
    }

    /// Creates a permanent error.
    pub fn unavailable(reason: impl Into<String>) -> AttemptError {
        AttemptError::Permanent(RemoteError::Unavailable(reason.into()))
    }

    /// Creates the permanent error that the file is no longer the listed one.
    pub fn changed(what: impl Into<String>) -> AttemptError {
        AttemptError::Permanent(RemoteError::Changed(what.into()))
    }
}

impl From<RemoteError> for AttemptError {
    fn from(error: RemoteError) -> Self {
        AttemptError::Permanent(error)
    }
}

/// Runs `attempt`, which transfers about `bytes` bytes, deadline it succeeds, fails permanently or reaches the limits. This
/// function blocks: it must not be called from a task.
///
/// # Errors
/// Returns the error of the last attempt.
pub fn with_retries<T, A: Future<Output = Result<T, AttemptError>>>(
    runtime: &NetworkRuntime,
    limits: &RequestLimits,
    bytes: u64,
    mut attempt: impl FnMut() -> A,
) -> Result<T, RemoteError> {
    let deadline = Instant::now() + limits.total_timeout(bytes);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let remaining = deadline.saturating_duration_since(Instant::now());
        let timeout = limits.attempt_timeout(bytes).min(remaining);
        // The timer must be created inside the runtime.
        let one = async { tokio::time::timeout(timeout, attempt()).await };
        let (reason, retry_after) = match runtime.block_on(one)? {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(AttemptError::Permanent(error))) => return Err(error),
            Ok(Err(AttemptError::Transient { reason, retry_after })) => (reason, retry_after),
            Err(_) => (format!("no response within {} s", timeout.as_secs_f64().ceil()), None),
        };
        let pause = pause(limits, attempts, retry_after);
        if attempts >= limits.attempts || Instant::now() + pause >= deadline {
            let count =
                if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
            return Err(RemoteError::Unavailable(format!("{reason} ({count})")));
        }
        std::thread::sleep(pause);
    }
}

/// Returns the pause after this many attempts. It is at least half of a time that doubles with each attempt, plus a
/// random part, so that many readers do not retry at once. It is at least `requested`, up to the longest pause.
fn pause(limits: &RequestLimits, attempts: u32, requested: Option<Duration>) -> Duration {
    let doubled = 2u32.saturating_pow(attempts.saturating_sub(1).min(16));
    let longest = limits.first_pause.saturating_mul(doubled).min(limits.longest_pause);
    let mut random = [0; 1];
    // If this fails, all pauses are equal, which does no harm.
    let _ = getrandom::fill(&mut random);
    let backoff = longest / 2 + (longest / 2).mul_f64(f64::from(random[0]) / 255.0);
    backoff.max(requested.unwrap_or_default().min(limits.longest_pause))
}

/// Returns whether a status is transient (RFC 9110, section 15).
pub fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Parses the number of seconds in `Retry-After` (RFC 9110, section 10.2.3). A date is ignored.
pub fn retry_after(value: Option<&str>) -> Option<Duration> {
    value?.trim().parse().ok().map(Duration::from_secs)
}

/// Returns the message of the innermost error. The outer messages contain URLs and repeat it.
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn quick() -> RequestLimits {
        RequestLimits {
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(4),
            idle: Duration::from_millis(50),
            connect: Duration::ZERO,
            ..RequestLimits::default()
        }
    }

    #[test]
    fn transient_failures_are_retried() {
        let attempts = Cell::new(0);
        let result = with_retries(&NetworkRuntime::default(), &quick(), 0, async || {
            attempts.set(attempts.get() + 1);
            if attempts.get() < 4 { Err(AttemptError::transient("busy")) } else { Ok(7) }
        });
        assert_eq!((result.unwrap(), attempts.get()), (7, 4));
    }

    #[test]
    fn permanent_failures_are_not_retried_and_retries_are_limited() {
        let attempts = Cell::new(0);
        let run = |failure: AttemptError| {
            attempts.set(0);
            let result = with_retries(&NetworkRuntime::default(), &quick(), 0, async || {
                attempts.set(attempts.get() + 1);
                Err::<(), _>(failure.clone())
            });
            (result.unwrap_err(), attempts.get())
        };
        let (error, attempts) = run(AttemptError::changed("its tag"));
        assert!(matches!((error, attempts), (RemoteError::Changed(what), 1) if what == "its tag"));
        let hour = Some(Duration::from_secs(3600));
        let (error, attempts) =
            run(AttemptError::Transient { reason: "busy".into(), retry_after: hour });
        assert_eq!(attempts, 6);
        assert_eq!(error.to_string(), "busy (6 attempts)");
    }

    #[test]
    fn a_request_without_a_response_ends() {
        let limits = RequestLimits { attempts: 2, ..quick() };
        let began = Instant::now();
        let result = with_retries(
            &NetworkRuntime::default(),
            &limits,
            0,
            std::future::pending::<Result<(), AttemptError>>,
        );
        assert!(result.unwrap_err().to_string().starts_with("no response within"));
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn pauses_grow_up_to_the_limit() {
        let limits = RequestLimits::default();
        for attempts in 1..40 {
            let pause = pause(&limits, attempts, None);
            assert!(pause >= limits.first_pause / 2 && pause <= limits.longest_pause, "{pause:?}");
        }
        let run = pause(&limits, 1, Some(Duration::from_secs(7)));
        assert_eq!(run, Duration::from_secs(7));
        assert_eq!(retry_after(Some(" 12 ")), Some(Duration::from_secs(12)));
        assert_eq!(retry_after(Some("Fri, 31 Dec 1999 23:59:59 GMT")), None);
    }
}
