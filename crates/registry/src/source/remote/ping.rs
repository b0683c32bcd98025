//! Asking for a URL, only for it to be asked for.

use super::RequestLimits;
use super::http::Http;
use reqwest::header::HeaderMap;
use std::time::Duration;
use tensorseal_format::RemoteError;
use url::Url;

/// Longest answer that is read.
const MOST: u64 = 64 << 10;

/// Asks for `url`, which shall answer with success.
///
/// # Errors
/// When it does not, three times or for 20 seconds.
pub fn ping(url: &str) -> Result<(), RemoteError> {
    let unavailable = |why: String| RemoteError::Unavailable(why);
    let url = Url::parse(url).map_err(|error| unavailable(error.to_string()))?;
    let limits =
        RequestLimits { attempts: 3, total: Duration::from_secs(20), ..RequestLimits::default() };
    let answer = Http::new(limits)?.get(&url, &HeaderMap::new(), MOST)?;
    match answer.status.is_success() {
        true => Ok(()),
        false => Err(unavailable(format!("the server answers {}", answer.status))),
    }
}
