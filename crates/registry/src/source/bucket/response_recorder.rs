//! What a store answers, seen before the client does.
//!
//! The client of the store tells of an error in words that hold URLs and texts of the server. Here it is
//! noted what an answer was, so that what is told of it is ours; and no answer is longer than it may be.

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

/// The longest answer to a request that does not state how much it asks for: a page of a list has 1000 keys
/// of 1024 bytes.
const MOST: usize = 8 << 20;

/// Makes clients that are watched.
#[derive(Debug, Default)]
pub(super) struct RecordingConnector(ReqwestConnector);

impl HttpConnector for RecordingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // Default headers are those that the client itself gives a request, and signs: S3 refuses requests
        // with others. Here they would be added to every request, also to those of other services.
        let options = options.clone().with_default_headers(HeaderMap::new());
        Ok(HttpClient::new(RecordingService(self.0.connect(&options)?)))
    }
}

/// What was seen of the answer to a request that this is attached to.
#[derive(Debug, Clone, Default)]
pub(super) struct ResponseRecorder(Arc<Mutex<RecordedResponse>>);

/// See [`ResponseRecorder`].
#[derive(Debug, Clone, Default)]
pub(super) struct RecordedResponse {
    /// The status; `None`: there was no answer.
    pub status: Option<u16>,
    /// How long the store asks to be left alone.
    pub after: Option<Duration>,
    /// Why the answer was not handed on.
    pub refused: Option<&'static str>,
    /// The SHA-256 of the object, as the store keeps it.
    pub checksum: Option<[u8; 32]>,
    /// Keys of a list that were taken out of it.
    pub keys: Vec<String>,
}

impl ResponseRecorder {
    /// What was noted.
    pub(super) fn response(&self) -> RecordedResponse {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, note: impl FnOnce(&mut RecordedResponse)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[derive(Debug)]
struct RecordingService(HttpClient);

#[async_trait]
impl HttpService for RecordingService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let seen = request.extensions().get::<ResponseRecorder>().cloned().unwrap_or_default();
        let has_bounds = request.headers().contains_key("range");
        let is_list = is_list(request.uri().query().unwrap_or_default());
        let response = self.0.execute(request).await?;
        let (parts, body) = response.into_parts();
        let after = parts.headers.get("retry-after").and_then(|value| value.to_str().ok());
        seen.record(|noted| {
            noted.status = Some(parts.status.as_u16());
            noted.after = retry::retry_after(after);
            noted.checksum = checksum::sha256_from_headers(&parts.headers);
        });
        if !parts.status.is_success() {
            // Its text may say anything, of any length.
            return Ok(HttpResponse::from_parts(parts, Vec::new().into()));
        }
        if has_bounds {
            return Ok(HttpResponse::from_parts(parts, body));
        }
        let refuse = |why: &'static str| {
            seen.record(|noted| noted.refused = Some(why));
            HttpError::new(HttpErrorKind::Decode, io::Error::other(why))
        };
        let mut body = whole(body).await?.ok_or_else(|| refuse("its answer is too long"))?;
        if is_list {
            let (kept, keys) = page_filter::remove_invalid_keys(&body)
                .ok_or_else(|| refuse("its list is malformed"))?;
            seen.record(|noted| noted.keys = keys);
            body = kept;
        }
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// Whether a query asks for a list.
fn is_list(query: &str) -> bool {
    query.split('&').any(|pair| matches!(pair, "list-type=2" | "comp=list"))
}

/// A body; `None`: it is too long.
async fn whole(body: HttpResponseBody) -> Result<Option<Vec<u8>>, HttpError> {
    let mut pieces = body.bytes_stream();
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if whole.len() + piece.len() > MOST {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(whole))
}
