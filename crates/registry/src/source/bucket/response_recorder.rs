//! Inspects every response of a store before the client does.
//!
//! The error messages of the client contain URLs and texts of the server. The recorded response allows messages without
//! them. The length of responses is limited here too.

use super::super::remote::retry;
use super::{checksum, page_filter};
use async_trait::async_trait;
use futures_util::StreamExt;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};
use reqwest::header::HeaderMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The longest response to a request without a range, in bytes. A page of a listing has 1000 keys of up to 1024 bytes.
const MAX_BYTES: usize = 8 << 20;

/// Creates clients that record responses.
#[derive(Debug, Default)]
pub(super) struct RecordingConnector(ReqwestConnector);

impl HttpConnector for RecordingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // The client adds and signs the default headers itself: S3 refuses requests with unsigned ones. Here they
        // would be added to every request, even to those of other services.
        let options = options.clone().with_default_headers(HeaderMap::new());
        Ok(HttpClient::new(RecordingService(self.0.connect(&options)?)))
    }
}

/// Records the response to the request that has it as an extension.
#[derive(Debug, Clone, Default)]
pub(super) struct ResponseRecorder(Arc<Mutex<RecordedResponse>>);

/// The recorded parts of a response.
#[derive(Debug, Clone, Default)]
pub(super) struct RecordedResponse {
    /// The status; `None` if there was no response.
    pub status: Option<u16>,
    /// The pause that the store asks for.
    pub retry_after: Option<Duration>,
    /// The reason why the response was not passed to the client.
    pub refused: Option<&'static str>,
    /// The SHA-256 that the store keeps of the object.
    pub checksum: Option<[u8; 32]>,
    /// The invalid keys that were removed from a listing.
    pub keys: Vec<String>,
}

impl ResponseRecorder {
    /// Returns the recorded response.
    pub(super) fn response(&self) -> RecordedResponse {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, update: impl FnOnce(&mut RecordedResponse)) {
        update(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[derive(Debug)]
struct RecordingService(HttpClient);

#[async_trait]
impl HttpService for RecordingService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let recorder = request.extensions().get::<ResponseRecorder>().cloned().unwrap_or_default();
        let has_range = request.headers().contains_key("range");
        let is_list = is_list(request.uri().query().unwrap_or_default());
        let response = self.0.execute(request).await?;
        let (parts, body) = response.into_parts();
        let after = parts.headers.get("retry-after").and_then(|value| value.to_str().ok());
        recorder.record(|recorded| {
            recorded.status = Some(parts.status.as_u16());
            recorded.retry_after = retry::retry_after(after);
            recorded.checksum = checksum::sha256_from_headers(&parts.headers);
        });
        if !parts.status.is_success() {
            // The body of an error may have any content and length.
            return Ok(HttpResponse::from_parts(parts, Vec::new().into()));
        }
        if has_range {
            return Ok(HttpResponse::from_parts(parts, body));
        }
        let refuse = |why: &'static str| {
            recorder.record(|recorded| recorded.refused = Some(why));
            HttpError::new(HttpErrorKind::Decode, io::Error::other(why))
        };
        let mut body = whole(body).await?.ok_or_else(|| refuse("the response is too long"))?;
        if is_list {
            let (kept, keys) = page_filter::remove_invalid_keys(&body)
                .ok_or_else(|| refuse("the listing is malformed"))?;
            recorder.record(|recorded| recorded.keys = keys);
            body = kept;
        }
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// Returns whether a query requests a listing.
fn is_list(query: &str) -> bool {
    query.split('&').any(|pair| matches!(pair, "list-type=2" | "comp=list"))
}

/// Reads a whole body; `None` if it is too long.
async fn whole(body: HttpResponseBody) -> Result<Option<Vec<u8>>, HttpError> {
    let mut chunks = body.bytes_stream();
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if whole.len() + chunk.len() > MAX_BYTES {
            return Ok(None);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(Some(whole))
}
