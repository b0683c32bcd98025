//! Notifies a URL, such as a monitoring service, with a request.

use super::RequestLimits;
use super::http::Http;
use reqwest::header::HeaderMap;
use std::time::Duration;
use tensorseal_format::RemoteError;
use url::Url;

/// The longest response that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Sends a GET request to `url` and checks that the status is a success.
///
/// # Errors
/// Returns [`RemoteError::Unavailable`] if `url` is not valid, or does not response with success within three attempts and
/// 20 seconds.
pub fn ping(url: &str) -> Result<(), RemoteError> {
    let unavailable = |reason: String| RemoteError::Unavailable(reason);
    let url = Url::parse(url).map_err(|error| unavailable(error.to_string()))?;
    let limits =
        RequestLimits { attempts: 3, total: Duration::from_secs(20), ..RequestLimits::default() };
    let response = Http::new(limits)?.get(&url, &HeaderMap::new(), MAX_BYTES)?;
    match response.status.is_success() {
        true => Ok(()),
        false => Err(unavailable(format!("the server returned {}", response.status))),
    }
}
