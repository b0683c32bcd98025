//! An HTTP client with limits on time, retries and the length of responses.

use super::limits::RequestLimits;
use super::retry::{self, AttemptError, with_retries};
use super::runtime::NetworkRuntime;
use super::tls;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tensorseal_format::RemoteError;
use url::Url;

/// The largest number of redirects that are followed. Credentials are not sent to another host.
const MAX_REDIRECTS: usize = 5;

/// An HTTP client with limits.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    limits: RequestLimits,
    runtime: NetworkRuntime,
}

/// A response with its whole body. Its status is not one of those that are retried.
#[derive(Debug)]
pub struct BufferedResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Http {
    /// Creates a client with these limits.
    ///
    /// # Errors
    /// Returns [`RemoteError::Unavailable`] if the threads or the TLS configuration cannot be set up.
    pub fn new(limits: RequestLimits) -> Result<Http, RemoteError> {
        let runtime = NetworkRuntime::default();
        let tls = tls::config().map_err(|error| RemoteError::Unavailable(error.to_string()))?;
        let built = runtime.enter(|| {
            Client::builder()
                .tls_backend_preconfigured(tls)
                .user_agent(concat!("tensorseal/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(limits.connect)
                .read_timeout(limits.idle)
                .redirect(Policy::limited(MAX_REDIRECTS))
                .referer(false)
                .build()
        })?;
        let client = built.map_err(|error| RemoteError::Unavailable(describe_error(error)))?;
        Ok(Http { client, limits, runtime })
    }

    /// Returns the limits of the client.
    pub fn limits(&self) -> &RequestLimits {
        &self.limits
    }

    /// Returns the threads that drive the connections.
    pub fn runtime(&self) -> &NetworkRuntime {
        &self.runtime
    }

    /// Sends a GET request for `url`, with retries, and reads the whole body of up to `max_bytes` bytes.
    ///
    /// # Errors
    /// Returns [`RemoteError::Unavailable`] if no attempt succeeds, or if the body is longer.
    pub fn get(
        &self,
        url: &Url,
        headers: &HeaderMap,
        max_bytes: u64,
    ) -> Result<BufferedResponse, RemoteError> {
        self.with_retries(max_bytes, || async {
            let response = self.send(url, headers.clone()).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = body(response, max_bytes).await?;
            Ok(BufferedResponse { status, headers, body })
        })
    }

    /// Runs `attempt`, which transfers about `bytes` bytes, until it succeeds; see [`with_retries`].
    ///
    /// # Errors
    /// Returns the error of the last attempt.
    pub fn with_retries<T, A: Future<Output = Result<T, AttemptError>>>(
        &self,
        bytes: u64,
        attempt: impl FnMut() -> A,
    ) -> Result<T, RemoteError> {
        with_retries(&self.runtime, &self.limits, bytes, attempt)
    }

    /// Sends one GET request without a retry.
    ///
    /// # Errors
    /// Returns [`AttemptError::Transient`] if there is no response, or if its status asks for a retry.
    pub async fn send(&self, url: &Url, headers: HeaderMap) -> Result<Response, AttemptError> {
        self.once(self.client.get(url.clone()).headers(headers)).await
    }

    /// Sends one POST request with a form (`application/x-www-form-urlencoded`), without a retry.
    ///
    /// # Errors
    /// Returns the errors of [`Http::send`].
    pub async fn send_form(&self, url: &Url, form: String) -> Result<Response, AttemptError> {
        let request = self.client.post(url.clone());
        self.once(request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form))
            .await
    }

    async fn once(&self, request: RequestBuilder) -> Result<Response, AttemptError> {
        let response =
            request.send().await.map_err(|error| AttemptError::transient(describe_error(error)))?;
        let status = response.status();
        if !retry::is_transient_status(status.as_u16()) {
            return Ok(response);
        }
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry::retry_after(header);
        let reason = format!("the server returned {status}");
        Err(AttemptError::Transient { reason, retry_after })
    }
}

/// Returns the value of the `Range` header for `len` bytes at `offset`. A `len` of 0 requests one byte.
///
/// # Errors
/// Returns [`AttemptError::Permanent`] if the range overflows.
pub fn range_header(offset: u64, len: usize) -> Result<HeaderValue, AttemptError> {
    let last = offset.checked_add((len as u64).max(1) - 1).ok_or_else(invalid_request)?;
    HeaderValue::try_from(format!("bytes={offset}-{last}")).map_err(|_| invalid_request())
}

/// Reads the response to a request for `len` bytes at `offset`. `check` inspects the headers before the body is read.
///
/// # Errors
/// Returns an [`AttemptError`] if the server answers with another status, range or length, or if `check` fails.
pub async fn read_range(
    response: Response,
    offset: u64,
    len: usize,
    check: &dyn Fn(&HeaderMap) -> Result<(), RemoteError>,
) -> Result<Vec<u8>, AttemptError> {
    match response.status() {
        StatusCode::PARTIAL_CONTENT => {}
        StatusCode::OK => {
            return Err(AttemptError::unavailable(
                "the server does not support range requests: it returned the whole file",
            ));
        }
        status @ (StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::PRECONDITION_FAILED) => {
            return Err(AttemptError::changed(format!("the server returned {status}")));
        }
        status => return Err(AttemptError::unavailable(format!("the server returned {status}"))),
    }
    check(response.headers())?;
    let requested = [offset, offset + len as u64];
    if content_range(response.headers()).map(|(range, _)| range) != Some(requested) {
        return Err(AttemptError::unavailable("the server returned another range"));
    }
    let body = body(response, len as u64).await?;
    match body.len() {
        received if received == len => Ok(body),
        received => {
            Err(AttemptError::transient(format!("received {received} bytes instead of {len}")))
        }
    }
}

/// Reads the body of a response of up to `max_bytes` bytes.
///
/// # Errors
/// Returns [`AttemptError::Permanent`] if the body is longer, and [`AttemptError::Transient`] if the connection fails.
pub async fn body(mut response: Response, max_bytes: u64) -> Result<Vec<u8>, AttemptError> {
    let stated = response.content_length().unwrap_or(0);
    if stated > max_bytes {
        return Err(too_long(max_bytes));
    }
    let mut body = Vec::with_capacity(stated as usize);
    while let Some(piece) =
        response.chunk().await.map_err(|error| AttemptError::transient(describe_error(error)))?
    {
        if (body.len() + piece.len()) as u64 > max_bytes {
            return Err(too_long(max_bytes));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn too_long(max_bytes: u64) -> AttemptError {
    AttemptError::unavailable(format!("the response is longer than {max_bytes} bytes"))
}

fn invalid_request() -> AttemptError {
    AttemptError::unavailable("the requested range is not valid")
}

/// Returns the range of a response as `[start, end]`, end exclusive, and the length of the whole file if it is stated.
pub fn content_range(headers: &HeaderMap) -> Option<([u64; 2], Option<u64>)> {
    parse_range(headers.get(CONTENT_RANGE)?.to_str().ok()?)
}

/// Parses `Content-Range: bytes FIRST-LAST/LENGTH` (RFC 9110, section 14.4).
fn parse_range(value: &str) -> Option<([u64; 2], Option<u64>)> {
    let (range, length) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    Some(([first, last.checked_add(1)?], length.trim().parse().ok()))
}

/// Describes an error of the client without its URL, which may contain credentials.
pub fn describe_error(error: reqwest::Error) -> String {
    let summary = if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connection failed"
    } else if error.is_redirect() {
        "too many redirects"
    } else {
        "connection lost"
    };
    format!("{summary}: {}", retry::root_cause(&error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_range("bytes 0-0/1"), Some(([0, 1], Some(1))));
        assert_eq!(parse_range("bytes 5-9/*"), Some(([5, 10], None)));
        for wrong in ["", "bytes */7", "bytes 5-", "items 0-1/2", "bytes 0-18446744073709551615/*"]
        {
            assert_eq!(parse_range(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_range_panics(text in "(bytes )?[0-9*/-]{0,40}") {
            parse_range(&text);
        }
    }
}
