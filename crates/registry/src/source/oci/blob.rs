//! Reads the bytes of a layer by ranges if the registry supports them, and otherwise once in order.

use super::super::remote::http;
use super::super::remote::retry::AttemptError;
use super::super::remote::{FetchRange, stream::ResponseBody};
use super::client::RegistryClient;
use super::layers::Layer;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RANGE};
use std::sync::Arc;
use tensorseal_format::RemoteError;
use url::Url;

/// The way in which a layer can be read.
#[derive(Debug)]
pub(super) enum BlobAccess {
    /// By ranges. The value is the length of the layer in bytes, if the registry states it.
    Ranges(Option<u64>),
    /// From this response, once and in order.
    Stream(ResponseBody),
}

/// Requests the first byte of a layer that is not empty.
///
/// # Errors
/// Returns [`RemoteError::Unavailable`] if the registry does not have the layer or does not answer.
pub(super) fn probe(registry: &RegistryClient, layer: &Layer) -> Result<BlobAccess, RemoteError> {
    let url = registry.url("blobs", &layer.digest);
    let http = registry.http();
    http.with_retries(1, || async {
        let range = HeaderMap::from_iter([(RANGE, http::range_header(0, 1)?)]);
        let response = registry.request(&url, range).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => match http::content_range(response.headers()) {
                Some(([0, 1], total)) => Ok(BlobAccess::Ranges(total)),
                _ => Err(AttemptError::unavailable("the registry returned another range")),
            },
            StatusCode::OK => {
                Ok(BlobAccess::Stream(ResponseBody::new(response, layer.bytes, http)))
            }
            StatusCode::NOT_FOUND => {
                Err(AttemptError::unavailable("the layer does not exist in the registry"))
            }
            status => Err(AttemptError::unavailable(format!("the registry returned {status}"))),
        }
    })
}

/// A layer that is read by ranges.
#[derive(Debug)]
pub(super) struct BlobRanges {
    registry: Arc<RegistryClient>,
    url: Url,
    place: String,
    bytes: u64,
}

impl BlobRanges {
    /// Creates a reader of the first `bytes` bytes of a layer. `place` is its name in messages.
    pub(super) fn new(
        registry: &Arc<RegistryClient>,
        layer: &Layer,
        bytes: u64,
        place: String,
    ) -> Self {
        let url = registry.url("blobs", &layer.digest);
        Self { registry: Arc::clone(registry), url, place, bytes }
    }
}

impl FetchRange for BlobRanges {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn fetch(&self, offset: u64, len: usize) -> Result<Vec<u8>, RemoteError> {
        self.registry.http().with_retries(len as u64, || async {
            let range = HeaderMap::from_iter([(RANGE, http::range_header(offset, len)?)]);
            let response = self.registry.request(&self.url, range).await?;
            http::read_range(response, offset, len, &|_| Ok(())).await
        })
    }
}
