//! Finds the models of a bucket: the topmost prefixes that directly contain a model file.
//!
//! Each level of the bucket is listed page by page, and only one page of each level is kept in memory.

use super::super::local::{is_signature, options};
use super::super::model_markers::{is_array, is_model_marker};
use super::super::{ChangeToken, ListedFile, ListedModel, SourceError};
use super::pages::{BucketListing, ListPage};
use object_store::ObjectMeta;
use std::ops::ControlFlow;
use tensorseal_base::display::display_name;
use tensorseal_core::seal;
use tensorseal_format::listing::{MAX_FILES, PathMembership, path_membership};

/// The largest number of levels that are listed.
const MAX_DEPTH: usize = 64;

/// The largest number of invalid keys that are reported one by one.
const MAX_REPORTED: usize = 16;

type ModelCallback<'e> = &'e mut dyn FnMut(ListedModel) -> ControlFlow<()>;

/// Calls `each` for every model until it returns [`ControlFlow::Break`].
///
/// # Errors
/// Returns a [`SourceError`] if the bucket cannot be listed completely.
pub(super) fn models(
    listing: &BucketListing<'_>,
    each: ModelCallback<'_>,
) -> Result<(), SourceError> {
    let mut is_empty = true;
    let mut report = |listed| {
        is_empty = false;
        each(listed)
    };
    let prefix = &listing.address.prefix;
    let ended = visit_prefix(listing, prefix, 0, &mut report)?;
    match prefix.strip_suffix('/') {
        Some(key) if is_empty && ended.is_continue() => refuse_object(listing, key),
        _ => Ok(()),
    }
}

/// Refuses the address of a single object: a model is everything below a prefix, and a part of it must not be taken for
/// the whole.
fn refuse_object(listing: &BucketListing<'_>, key: &str) -> Result<(), SourceError> {
    if !listing.is_object(key)? {
        return Ok(());
    }
    let above = key.rsplit_once('/').map_or("", |(above, _)| above);
    let why = format!(
        "the address is that of a single object, not of a prefix: use {}",
        listing.address.place(above)
    );
    Err(SourceError::Invalid { source_name: listing.address.to_string(), reason: why })
}

fn visit_prefix(
    listing: &BucketListing<'_>,
    prefix: &str,
    depth: usize,
    each: ModelCallback<'_>,
) -> Result<ControlFlow<()>, SourceError> {
    if depth > MAX_DEPTH {
        let why = format!("nested deeper than {MAX_DEPTH} levels");
        return Ok(each(unlisted(listing, prefix, why)));
    }
    let mut pages = listing.level(prefix);
    let first = pages.next()?.unwrap_or_default();
    let has_more = pages.has_more();
    let mut is_model = first.has_marker();
    let mut arrays = first.arrays();
    while !is_model && let Some(page) = pages.next()? {
        is_model = page.has_marker();
        arrays += page.arrays();
    }
    if is_model {
        return Ok(each(model(listing, prefix)?));
    }
    if arrays > 0 {
        let mut listed = model(listing, prefix)?.into_arrays_only(arrays);
        listed.unreadable = None;
        if each(listed).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    if !has_more {
        return visit_subprefixes(listing, prefix, first, depth, each);
    }
    // There is no model file on this level, so its prefixes are visited. This lists the pages again.
    let mut pages = listing.level(prefix);
    while let Some(page) = pages.next()? {
        if visit_subprefixes(listing, prefix, page, depth, each)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn visit_subprefixes(
    listing: &BucketListing<'_>,
    prefix: &str,
    page: ListPage,
    depth: usize,
    each: ModelCallback<'_>,
) -> Result<ControlFlow<()>, SourceError> {
    // Invalid keys that could belong to a model are reported in one entry.
    let invalid = page.invalid.iter().filter(|key| key.ends_with('/') || is_marker(key));
    let reported = describe_invalid_keys(invalid);
    if !reported.is_empty() {
        let name = format!("{}?", listing.address.model_name(prefix));
        if each(ListedModel::unreadable(name, reported.join("; "))).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    for below in page.prefixes {
        if visit_prefix(listing, &below, depth + 1, each)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

impl ListPage {
    fn has_marker(&self) -> bool {
        self.objects.iter().any(|object| is_marker(object.location.as_ref()))
    }

    fn arrays(&self) -> u64 {
        let names = self.objects.iter().map(|object| last(object.location.as_ref()));
        names.filter(|name| is_array(name)).count() as u64
    }
}

fn is_marker(key: &str) -> bool {
    is_model_marker(last(key))
}

fn last(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// Lists the model below a prefix, with all objects there.
pub(super) fn model(listing: &BucketListing<'_>, prefix: &str) -> Result<ListedModel, SourceError> {
    let mut model =
        ListedModel { name: listing.address.model_name(prefix), ..ListedModel::default() };
    let options = options();
    let mut pages = listing.all(prefix);
    let mut invalid = Vec::new();
    while let Some(page) = pages.next()? {
        invalid.extend(page.invalid);
        for file in page.objects.iter().filter_map(|object| file(object, prefix)) {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            model.signed |= is_signature(name);
            model.sealed |= file.path == seal::FILE_NAME;
            match path_membership(&file.path, &options) {
                PathMembership::ModelFile => model.files.push(file),
                PathMembership::Skipped if file.path == seal::FILE_NAME => {
                    model.sidecars = vec![file]
                }
                PathMembership::Skipped => {}
                PathMembership::Refused => invalid.push(format!("{prefix}{}", file.path)),
            }
        }
        invalid.truncate(MAX_REPORTED + 1);
        if model.files.len() > MAX_FILES {
            return Ok(unlisted(
                listing,
                prefix,
                format!("the model has more than {MAX_FILES} files"),
            ));
        }
    }
    model.files.sort_by(|a, b| a.path.cmp(&b.path));
    model.files.dedup_by(|again, file| again.path == file.path);
    model.incomplete = describe_invalid_keys(invalid.iter());
    Ok(model)
}

fn file(object: &ObjectMeta, prefix: &str) -> Option<ListedFile> {
    let path = object.location.as_ref().strip_prefix(prefix)?;
    Some(ListedFile {
        path: path.to_owned(),
        bytes: object.size,
        change_token: ChangeToken::Object {
            etag: object.e_tag.clone(),
            version: object.version.clone(),
            modified: object.last_modified.to_rfc3339(),
        },
        digests: Vec::new(),
    })
}

/// Returns a sentence for each of the first invalid keys, and one for the others.
fn describe_invalid_keys<'k>(keys: impl Iterator<Item = &'k String>) -> Vec<String> {
    let mut keys = keys.peekable();
    let first = keys.by_ref().take(MAX_REPORTED);
    let mut reported: Vec<String> = first
        .map(|key| {
            format!("{}: not a valid path in a model; the object is skipped", display_name(key))
        })
        .collect();
    if keys.peek().is_some() {
        reported
            .push("more keys are not valid paths in a model; these objects are skipped".to_owned());
    }
    reported
}

fn unlisted(listing: &BucketListing<'_>, prefix: &str, why: String) -> ListedModel {
    ListedModel::unreadable(listing.address.model_name(prefix), why)
}
