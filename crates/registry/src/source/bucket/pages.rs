//! Lists, page by page.

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

/// Pages of one list: of 1000 keys each, more than any bucket that is looked at whole.
const MOST_PAGES: u32 = 1 << 20;

/// Pages without a key that may follow one another: a store gives some while it passes over deleted keys.
const MOST_EMPTY: u32 = 1000;

/// What is listed, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct BucketListing<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// How long it is waited for.
    pub limits: &'a RequestLimits,
    /// Who waits for it.
    pub runtime: &'a NetworkRuntime,
    /// The bucket.
    pub address: &'a Address,
}

/// A page.
#[derive(Debug, Default)]
pub(super) struct ListPage {
    /// Objects.
    pub objects: Vec<ObjectMeta>,
    /// What keys begin with that have a `/` behind the prefix, up to and with that.
    pub prefixes: Vec<String>,
    /// Keys that are none.
    pub refused: Vec<String>,
}

/// The pages of one list.
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
    /// All that lies directly below a prefix.
    pub(super) fn level(self, prefix: &'a str) -> ListPages<'a> {
        self.pages(prefix, true)
    }

    /// All objects below a prefix.
    pub(super) fn all(self, prefix: &'a str) -> ListPages<'a> {
        self.pages(prefix, false)
    }

    /// Whether there is an object of this very key: some clients leave it out of a list that begins with it.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`].
    pub(super) fn is_object(self, key: &str) -> Result<bool, SourceError> {
        let Ok(path) = Path::parse(key) else { return Ok(false) };
        let found = with_retries(self.runtime, self.limits, 0, async || {
            let seen = ResponseRecorder::default();
            let mut options = GetOptions::new().with_head(true);
            options.extensions.insert(seen.clone());
            match self.store.get_opts(&path, options).await {
                Ok(_) => Ok(true),
                Err(error) => match attempt_error(&error, &seen) {
                    AttemptError::Permanent(_) => Ok(false),
                    passing => Err(passing),
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
    /// Whether there is another page.
    pub(super) fn has_more(&self) -> bool {
        !self.ended
    }

    /// The next page; `None`: there is no more.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`].
    pub(super) fn next(&mut self) -> Result<Option<ListPage>, SourceError> {
        if self.ended {
            return Ok(None);
        }
        let BucketListing { store, limits, runtime: waiting, address } = self.listing;
        let unreachable =
            |why: String| SourceError::Unreachable { place: address.place(self.prefix), why };
        let ask = || ask(store, self.prefix, self.delimiter, &self.token);
        let found = with_retries(waiting, limits, 0, ask);
        let (mut page, token) = found.map_err(|error| unreachable(error.to_string()))?;
        // A store that answers with other keys than those asked for could lead anywhere.
        let prefix = self.prefix;
        page.objects.retain(|object| object.location.as_ref().starts_with(prefix));
        page.prefixes.retain(|below| below.len() > prefix.len() && below.starts_with(prefix));
        self.count += 1;
        let is_empty = page.objects.is_empty() && page.prefixes.is_empty();
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        let goes_round = token.is_some() && token == self.token;
        if goes_round || self.count > MOST_PAGES || self.empty > MOST_EMPTY {
            return Err(unreachable("its list has no end".to_owned()));
        }
        self.ended = token.is_none();
        self.token = token;
        Ok(Some(page))
    }
}

async fn ask(
    store: &dyn Store,
    prefix: &str,
    delimiter: bool,
    token: &Option<String>,
) -> Result<(ListPage, Option<String>), AttemptError> {
    let seen = ResponseRecorder::default();
    let mut options = PaginatedListOptions {
        delimiter: delimiter.then(|| "/".into()),
        page_token: token.clone(),
        ..PaginatedListOptions::default()
    };
    options.extensions.insert(seen.clone());
    let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
    let listed = store.list_paginated(prefix, options).await;
    let listed = listed.map_err(|error| match error {
        Error::NotFound { .. } => AttemptError::unavailable("there is no such bucket"),
        error => match seen.response().status {
            Some(404) => AttemptError::unavailable("there is no such bucket"),
            _ => attempt_error(&error, &seen),
        },
    })?;
    let prefixes = listed.result.common_prefixes.iter().map(|path| format!("{path}/")).collect();
    let page = ListPage { objects: listed.result.objects, prefixes, refused: seen.response().keys };
    Ok((page, listed.page_token.filter(|token| !token.is_empty())))
}
