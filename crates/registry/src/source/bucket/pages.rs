//! Lists a bucket page by page.

use super::super::SourceError;
use super::super::remote::retry::{AttemptError, with_retries};
use super::super::remote::{NetworkRuntime, RequestLimits};
use super::address::Address;
use super::connect::Store;
use super::error::attempt_error;
use super::response_recorder::ResponseRecorder;
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{Error, GetOptions, ObjectMeta};

/// The largest number of pages of one listing, of 1000 keys each.
const MAX_PAGES: u32 = 1 << 20;

/// The largest number of consecutive pages without a key. Stores return such pages while they skip deleted keys.
const MAX_EMPTY: u32 = 1000;

/// A bucket, and how it is listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct BucketListing<'a> {
    /// The client.
    pub store: &'a dyn Store,
    /// The limits of the requests.
    pub limits: &'a RequestLimits,
    /// The network threads.
    pub runtime: &'a NetworkRuntime,
    /// The address of the bucket.
    pub address: &'a Address,
}

/// A page of a listing.
#[derive(Debug, Default)]
pub(super) struct ListPage {
    /// The objects.
    pub objects: Vec<ObjectMeta>,
    /// The prefixes one level below, with a `/` at the end.
    pub prefixes: Vec<String>,
    /// The keys that are not valid paths.
    pub invalid: Vec<String>,
}

/// The pages of one listing.
#[derive(Debug)]
pub(super) struct ListPages<'a> {
    listing: BucketListing<'a>,
    prefix: &'a str,
    delimiter: bool,
    token: Option<String>,
    ended: bool,
    count: u32,
    empty: u32,
}

impl<'a> BucketListing<'a> {
    /// Lists everything directly below a prefix.
    pub(super) fn level(self, prefix: &'a str) -> ListPages<'a> {
        self.pages(prefix, true)
    }

    /// Lists all objects below a prefix.
    pub(super) fn all(self, prefix: &'a str) -> ListPages<'a> {
        self.pages(prefix, false)
    }

    /// Returns whether there is an object with exactly this key. Some clients leave it out of a listing with this prefix.
    ///
    /// # Errors
    /// Returns [`SourceError::Unreachable`] if the store does not answer.
    pub(super) fn is_object(self, key: &str) -> Result<bool, SourceError> {
        let Ok(path) = Path::parse(key) else { return Ok(false) };
        let found = with_retries(self.runtime, self.limits, 0, async || {
            let recorder = ResponseRecorder::default();
            let mut options = GetOptions::new().with_head(true);
            options.extensions.insert(recorder.clone());
            match self.store.get_opts(&path, options).await {
                Ok(_) => Ok(true),
                Err(error) => match attempt_error(&error, &recorder) {
                    AttemptError::Permanent(_) => Ok(false),
                    transient => Err(transient),
                },
            }
        });
        found.map_err(|error| SourceError::at(&self.address.place(key), error))
    }

    fn pages(self, prefix: &'a str, delimiter: bool) -> ListPages<'a> {
        let (token, ended, count, empty) = (None, false, 0, 0);
        ListPages { listing: self, prefix, delimiter, token, ended, count, empty }
    }
}

impl ListPages<'_> {
    /// Returns whether there is another page.
    pub(super) fn has_more(&self) -> bool {
        !self.ended
    }

    /// Returns the next page; `None` at the end.
    ///
    /// # Errors
    /// Returns [`SourceError::Unreachable`] if the store does not answer, or if the listing does not end.
    pub(super) fn next(&mut self) -> Result<Option<ListPage>, SourceError> {
        if self.ended {
            return Ok(None);
        }
        let BucketListing { store, limits, runtime, address } = self.listing;
        let unreachable =
            |reason: String| SourceError::Unreachable { place: address.place(self.prefix), reason };
        let request = || request_page(store, self.prefix, self.delimiter, &self.token);
        let found = with_retries(runtime, limits, 0, request);
        let (mut page, token) = found.map_err(|error| unreachable(error.to_string()))?;
        // Keys outside of the requested prefix are not trusted.
        let prefix = self.prefix;
        page.objects.retain(|object| object.location.as_ref().starts_with(prefix));
        page.prefixes.retain(|below| below.len() > prefix.len() && below.starts_with(prefix));
        self.count += 1;
        let is_empty = page.objects.is_empty() && page.prefixes.is_empty();
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        let repeats = token.is_some() && token == self.token;
        if repeats || self.count > MAX_PAGES || self.empty > MAX_EMPTY {
            return Err(unreachable("the listing does not end".to_owned()));
        }
        self.ended = token.is_none();
        self.token = token;
        Ok(Some(page))
    }
}

async fn request_page(
    store: &dyn Store,
    prefix: &str,
    delimiter: bool,
    token: &Option<String>,
) -> Result<(ListPage, Option<String>), AttemptError> {
    let recorder = ResponseRecorder::default();
    let mut options = PaginatedListOptions {
        delimiter: delimiter.then(|| "/".into()),
        page_token: token.clone(),
        ..PaginatedListOptions::default()
    };
    options.extensions.insert(recorder.clone());
    let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
    let listed = store.list_paginated(prefix, options).await;
    let listed = listed.map_err(|error| match error {
        Error::NotFound { .. } => AttemptError::unavailable("the bucket does not exist"),
        error => match recorder.response().status {
            Some(404) => AttemptError::unavailable("the bucket does not exist"),
            _ => attempt_error(&error, &recorder),
        },
    })?;
    let prefixes = listed.result.common_prefixes.iter().map(|path| format!("{path}/")).collect();
    let page =
        ListPage { objects: listed.result.objects, prefixes, invalid: recorder.response().keys };
    Ok((page, listed.page_token.filter(|token| !token.is_empty())))
}
