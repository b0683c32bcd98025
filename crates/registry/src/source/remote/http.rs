//! Requests over plain HTTP, their answers bounded.

use super::limits::RequestLimits;
use super::retry::{self, AttemptError, with_retries};
use super::runtime::NetworkRuntime;
use super::tls;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tensorseal_format::RemoteError;
use url::Url;

/// Redirections that are followed; credentials do not go with them to another host.
const REDIRECTIONS: usize = 5;

/// A client with its limits.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    limits: RequestLimits,
    runtime: NetworkRuntime,
}

/// What a server answered: any status but those that were asked again for.
#[derive(Debug)]
pub struct BufferedResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Http {
    /// A client that waits so long.
    ///
    /// # Errors
    /// [`RemoteError::Unavailable`] when there can be none.
    pub fn new(limits: RequestLimits) -> Result<Http, RemoteError> {
        let waiting = NetworkRuntime::default();
        let tls = tls::config().map_err(|error| RemoteError::Unavailable(error.to_string()))?;
        let made = waiting.enter(|| {
            Client::builder()
                .tls_backend_preconfigured(tls)
                .user_agent(concat!("tensorseal/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(limits.connect)
                .read_timeout(limits.idle)
                .redirect(Policy::limited(REDIRECTIONS))
                .referer(false)
                .build()
        })?;
        let client = made.map_err(|error| RemoteError::Unavailable(describe_error(error)))?;
        Ok(Http { client, limits, runtime: waiting })
    }

    /// Its limits.
    pub fn limits(&self) -> &RequestLimits {
        &self.limits
    }

    /// Those who wait for its answers.
    pub fn runtime(&self) -> &NetworkRuntime {
        &self.runtime
    }

    /// Asks for `url`; the body of the answer may have `most` bytes.
    ///
    /// # Errors
    /// When there is no answer, or a longer one.
    pub fn get(
        &self,
        url: &Url,
        headers: &HeaderMap,
        most: u64,
    ) -> Result<BufferedResponse, RemoteError> {
        self.with_retries(most, || async {
            let response = self.send(url, headers.clone()).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = body(response, most).await?;
            Ok(BufferedResponse { status, headers, body })
        })
    }

    /// Asks for something of about `bytes` bytes as often as is worth it: see [`with_retries`].
    ///
    /// # Errors
    /// That of the last attempt.
    pub fn with_retries<T, A: Future<Output = Result<T, AttemptError>>>(
        &self,
        bytes: u64,
        attempt: impl FnMut() -> A,
    ) -> Result<T, RemoteError> {
        with_retries(&self.runtime, &self.limits, bytes, attempt)
    }

    /// Asks once.
    ///
    /// # Errors
    /// When there is no answer, or one that asks to come back.
    pub async fn send(&self, url: &Url, headers: HeaderMap) -> Result<Response, AttemptError> {
        self.once(self.client.get(url.clone()).headers(headers)).await
    }

    /// Sends a form once (`application/x-www-form-urlencoded`).
    ///
    /// # Errors
    /// As for [`Http::send`].
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
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = retry::retry_after(after);
        Err(AttemptError::Transient { why: format!("the server answers {status}"), after })
    }
}

/// The header that asks for `len` bytes from `offset` on; of none, for the one there.
///
/// # Errors
/// When there is no such range.
pub fn range_header(offset: u64, len: usize) -> Result<HeaderValue, AttemptError> {
    let last = offset.checked_add((len as u64).max(1) - 1).ok_or_else(unusable)?;
    HeaderValue::try_from(format!("bytes={offset}-{last}")).map_err(|_| unusable())
}

/// The `len` bytes from `offset` on that were asked for. `check` looks at the headers of the answer before
/// its body is read.
///
/// # Errors
/// When they are not what came.
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
                "the server does not give ranges, and answers with the whole file",
            ));
        }
        status @ (StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::PRECONDITION_FAILED) => {
            return Err(AttemptError::changed(format!("the server answers {status}")));
        }
        status => return Err(AttemptError::unavailable(format!("the server answers {status}"))),
    }
    check(response.headers())?;
    let wanted = [offset, offset + len as u64];
    if content_range(response.headers()).map(|(range, _)| range) != Some(wanted) {
        return Err(AttemptError::unavailable("the server answers with another range"));
    }
    let body = body(response, len as u64).await?;
    match body.len() {
        got if got == len => Ok(body),
        got => Err(AttemptError::transient(format!("{got} bytes came instead of {len}"))),
    }
}

/// The body of an answer, of at most `most` bytes.
///
/// # Errors
/// When it is longer, or ends before it should.
pub async fn body(mut response: Response, most: u64) -> Result<Vec<u8>, AttemptError> {
    let stated = response.content_length().unwrap_or(0);
    if stated > most {
        return Err(too_long(most));
    }
    let mut body = Vec::with_capacity(stated as usize);
    while let Some(piece) =
        response.chunk().await.map_err(|error| AttemptError::transient(describe_error(error)))?
    {
        if (body.len() + piece.len()) as u64 > most {
            return Err(too_long(most));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn too_long(most: u64) -> AttemptError {
    AttemptError::unavailable(format!("the answer is longer than {most} bytes"))
}

fn unusable() -> AttemptError {
    AttemptError::unavailable("the request cannot be written")
}

/// The range of the answer, half-open, and the length of the whole, where it is told.
pub fn content_range(headers: &HeaderMap) -> Option<([u64; 2], Option<u64>)> {
    parse_range(headers.get(CONTENT_RANGE)?.to_str().ok()?)
}

/// `Content-Range: bytes FIRST-LAST/LENGTH` (RFC 9110 section 14.4).
fn parse_range(value: &str) -> Option<([u64; 2], Option<u64>)> {
    let (range, length) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    Some(([first, last.checked_add(1)?], length.trim().parse().ok()))
}

/// An error of the client, without the URL.
pub fn describe_error(error: reqwest::Error) -> String {
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_redirect() {
        "too many redirections"
    } else {
        "the connection broke"
    };
    format!("{what}: {}", retry::root_cause(&error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_is_read_as_it_is_written() {
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
