//! The bytes of a layer: by ranges where the registry gives them, else once and in order.

use super::super::remote::http;
use super::super::remote::retry::Failure;
use super::super::remote::{Fetch, stream::Body};
use super::layers::Layer;
use super::registry::Registry;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RANGE};
use std::sync::Arc;
use tensorseal_format::RemoteError;
use url::Url;

/// How a layer can be read.
#[derive(Debug)]
pub(super) enum Access {
    /// By ranges; it has so many bytes, if the registry says how many.
    Ranges(Option<u64>),
    /// From this answer, or one like it.
    Whole(Body),
}

/// Asks for the first byte of a layer that has one.
///
/// # Errors
/// When the registry does not have it.
pub(super) fn probe(registry: &Registry, layer: &Layer) -> Result<Access, RemoteError> {
    let url = registry.url("blobs", &layer.digest);
    let http = registry.http();
    http.attempts(1, || async {
        let range = HeaderMap::from_iter([(RANGE, http::range_header(0, 1)?)]);
        let response = registry.ask(&url, range).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => match http::content_range(response.headers()) {
                Some(([0, 1], total)) => Ok(Access::Ranges(total)),
                _ => Err(Failure::unavailable("the registry answers with another range")),
            },
            StatusCode::OK => Ok(Access::Whole(Body::new(response, layer.bytes, http))),
            StatusCode::NOT_FOUND => Err(Failure::unavailable("the registry does not have it")),
            status => Err(Failure::unavailable(format!("the registry answers {status}"))),
        }
    })
}

/// A layer that is read by ranges.
#[derive(Debug)]
pub(super) struct Ranges {
    registry: Arc<Registry>,
    url: Url,
    place: String,
    bytes: u64,
}

impl Ranges {
    /// The first `bytes` bytes of a layer of the model that messages call `model`.
    pub fn new(registry: &Arc<Registry>, layer: &Layer, bytes: u64, place: String) -> Self {
        let url = registry.url("blobs", &layer.digest);
        Self { registry: Arc::clone(registry), url, place, bytes }
    }
}

impl Fetch for Ranges {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn fetch(&self, offset: u64, len: usize) -> Result<Vec<u8>, RemoteError> {
        self.registry.http().attempts(len as u64, || async {
            let range = HeaderMap::from_iter([(RANGE, http::range_header(offset, len)?)]);
            let response = self.registry.ask(&self.url, range).await?;
            http::part(response, offset, len, &|_| Ok(())).await
        })
    }
}
