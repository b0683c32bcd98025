//! Which failures pass, and the pauses between attempts.

use super::limits::RequestLimits;
use super::runtime::NetworkRuntime;
use std::error::Error;
use std::future::Future;
use std::time::{Duration, Instant};
use tensorseal_format::RemoteError;

/// Why an attempt gave nothing.
#[derive(Debug, Clone)]
pub enum AttemptError {
    /// Another one would not, either.
    Permanent(RemoteError),
    /// Another one may: the machine is busy, or the connection broke.
    Transient {
        /// What happened, without credentials.
        why: String,
        /// How long the machine asks to be left alone.
        after: Option<Duration>,
    },
}

impl AttemptError {
    /// One that may pass.
    pub fn transient(why: impl Into<String>) -> AttemptError {
        AttemptError::Transient { why: why.into(), after: None }
    }

    /// One that does not.
    pub fn unavailable(why: impl Into<String>) -> AttemptError {
        AttemptError::Permanent(RemoteError::Unavailable(why.into()))
    }

    /// That it is no longer what was listed.
    pub fn changed(what: impl Into<String>) -> AttemptError {
        AttemptError::Permanent(RemoteError::Changed(what.into()))
    }
}

impl From<RemoteError> for AttemptError {
    fn from(error: RemoteError) -> Self {
        AttemptError::Permanent(error)
    }
}

/// Asks for something of about `bytes` bytes until it is there, the failure does not pass, or the limits
/// are reached. Waits for it: not to be called from a task.
///
/// # Errors
/// That of the last attempt.
pub fn with_retries<T, A: Future<Output = Result<T, AttemptError>>>(
    waiting: &NetworkRuntime,
    limits: &RequestLimits,
    bytes: u64,
    mut attempt: impl FnMut() -> A,
) -> Result<T, RemoteError> {
    let until = Instant::now() + limits.total_timeout(bytes);
    let mut tried = 0;
    loop {
        tried += 1;
        let left = until.saturating_duration_since(Instant::now());
        let most = limits.attempt_timeout(bytes).min(left);
        // The timer is made where there is a runtime to drive it.
        let one = async { tokio::time::timeout(most, attempt()).await };
        let (why, after) = match waiting.block_on(one)? {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(AttemptError::Permanent(error))) => return Err(error),
            Ok(Err(AttemptError::Transient { why, after })) => (why, after),
            Err(_) => (format!("no answer within {} s", most.as_secs_f64().ceil()), None),
        };
        let pause = pause(limits, tried, after);
        if tried >= limits.attempts || Instant::now() + pause >= until {
            let times = if tried == 1 { "once".to_owned() } else { format!("{tried} times") };
            return Err(RemoteError::Unavailable(format!("{why} (asked {times})")));
        }
        std::thread::sleep(pause);
    }
}

/// How long to wait after so many attempts: at least half of a time that doubles, the rest by chance, so
/// that many readers do not come back at once; and at least as long as was asked for, within the limit.
fn pause(limits: &RequestLimits, tried: u32, asked: Option<Duration>) -> Duration {
    let doubled = 2u32.saturating_pow(tried.saturating_sub(1).min(16));
    let longest = limits.first_pause.saturating_mul(doubled).min(limits.longest_pause);
    let mut chance = [0; 1];
    // Without it all wait equally long, no more.
    let _ = getrandom::fill(&mut chance);
    let own = longest / 2 + (longest / 2).mul_f64(f64::from(chance[0]) / 255.0);
    own.max(asked.unwrap_or_default().min(limits.longest_pause))
}

/// Whether what a status says may pass (RFC 9110 section 15).
pub fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// What `Retry-After` asks for, in seconds (RFC 9110 section 10.2.3); a date is not looked at.
pub fn retry_after(value: Option<&str>) -> Option<Duration> {
    value?.trim().parse().ok().map(Duration::from_secs)
}

/// The cause at the bottom of an error: what lies above it names URLs and says the same again.
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
    fn what_passes_is_asked_for_again() {
        let tried = Cell::new(0);
        let found = with_retries(&NetworkRuntime::default(), &quick(), 0, async || {
            tried.set(tried.get() + 1);
            if tried.get() < 4 { Err(AttemptError::transient("busy")) } else { Ok(7) }
        });
        assert_eq!((found.unwrap(), tried.get()), (7, 4));
    }

    #[test]
    fn what_does_not_pass_is_not_and_there_is_an_end() {
        let tried = Cell::new(0);
        let asked = |failure: AttemptError| {
            tried.set(0);
            let found = with_retries(&NetworkRuntime::default(), &quick(), 0, async || {
                tried.set(tried.get() + 1);
                Err::<(), _>(failure.clone())
            });
            (found.unwrap_err(), tried.get())
        };
        let (error, tried) = asked(AttemptError::changed("its tag"));
        assert!(matches!((error, tried), (RemoteError::Changed(what), 1) if what == "its tag"));
        let hour = Some(Duration::from_secs(3600));
        let (error, tried) = asked(AttemptError::Transient { why: "busy".into(), after: hour });
        assert_eq!(tried, 6);
        assert_eq!(error.to_string(), "busy (asked 6 times)");
    }

    #[test]
    fn nobody_is_waited_for_without_end() {
        let limits = RequestLimits { attempts: 2, ..quick() };
        let began = Instant::now();
        let found = with_retries(
            &NetworkRuntime::default(),
            &limits,
            0,
            std::future::pending::<Result<(), AttemptError>>,
        );
        assert!(found.unwrap_err().to_string().starts_with("no answer within"));
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let limits = RequestLimits::default();
        for tried in 1..40 {
            let pause = pause(&limits, tried, None);
            assert!(pause >= limits.first_pause / 2 && pause <= limits.longest_pause, "{pause:?}");
        }
        let asked = pause(&limits, 1, Some(Duration::from_secs(7)));
        assert_eq!(asked, Duration::from_secs(7));
        assert_eq!(retry_after(Some(" 12 ")), Some(Duration::from_secs(12)));
        assert_eq!(retry_after(Some("Fri, 31 Dec 1999 23:59:59 GMT")), None);
    }
}
