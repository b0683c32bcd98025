//! The models of a bucket: the topmost prefixes that hold a file of a model.
//!
//! A level of the bucket is looked at page by page, and no more than a page of each level is held.

use super::super::local::{is_signature, options};
use super::super::model_markers::{is_array, is_model_marker};
use super::super::{ChangeToken, ListedFile, ListedModel, SourceError};
use super::pages::{BucketListing, ListPage};
use object_store::ObjectMeta;
use std::ops::ControlFlow;
use tensorseal_base::display::display_name;
use tensorseal_core::seal;
use tensorseal_format::listing::{MAX_FILES, PathMembership, path_membership};

/// Levels that are looked into.
const MAX_DEPTH: usize = 64;

/// Keys that are told of, of all that no path can be.
const MAX_TOLD: usize = 16;

type ModelCallback<'e> = &'e mut dyn FnMut(ListedModel) -> ControlFlow<()>;

/// Gives each model to `each`, until that breaks.
///
/// # Errors
/// When not all of them can be listed.
pub(super) fn models(
    listing: &BucketListing<'_>,
    each: ModelCallback<'_>,
) -> Result<(), SourceError> {
    let mut is_empty = true;
    let mut given = |listed| {
        is_empty = false;
        each(listed)
    };
    let prefix = &listing.address.prefix;
    let ended = visit_prefix(listing, prefix, 0, &mut given)?;
    match prefix.strip_suffix('/') {
        Some(key) if is_empty && ended.is_continue() => refuse_object(listing, key),
        _ => Ok(()),
    }
}

/// Refuses the address of one object, as that of one file is: a model is all that lies below a prefix, and no
/// part of one is taken for all of it.
fn refuse_object(listing: &BucketListing<'_>, key: &str) -> Result<(), SourceError> {
    if !listing.is_object(key)? {
        return Ok(());
    }
    let above = key.rsplit_once('/').map_or("", |(above, _)| above);
    let why = format!(
        "it is one object, and a source is all that lies below a prefix: give {}",
        listing.address.place(above)
    );
    Err(SourceError::Invalid { source_name: listing.address.to_string(), why })
}

fn visit_prefix(
    listing: &BucketListing<'_>,
    prefix: &str,
    depth: usize,
    each: ModelCallback<'_>,
) -> Result<ControlFlow<()>, SourceError> {
    if depth > MAX_DEPTH {
        let why = format!("lies more than {MAX_DEPTH} levels deep; it is not looked into");
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
    // What is below is looked at when it is known that no file of a model stands here: the pages again.
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
    // Of keys that are none, those that could be of a model; a list of them is one entry.
    let refused = page.refused.iter().filter(|key| key.ends_with('/') || is_marker(key));
    let told = describe_refused_keys(refused);
    if !told.is_empty() {
        let name = format!("{}?", listing.address.model_name(prefix));
        if each(ListedModel::unreadable(name, told.join("; "))).is_break() {
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

/// The model below a prefix: all objects there.
pub(super) fn model(listing: &BucketListing<'_>, prefix: &str) -> Result<ListedModel, SourceError> {
    let mut model =
        ListedModel { name: listing.address.model_name(prefix), ..ListedModel::default() };
    let options = options();
    let mut pages = listing.all(prefix);
    let mut refused = Vec::new();
    while let Some(page) = pages.next()? {
        refused.extend(page.refused);
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
                PathMembership::Refused => refused.push(format!("{prefix}{}", file.path)),
            }
        }
        refused.truncate(MAX_TOLD + 1);
        if model.files.len() > MAX_FILES {
            return Ok(unlisted(listing, prefix, format!("it has more than {MAX_FILES} files")));
        }
    }
    model.files.sort_by(|a, b| a.path.cmp(&b.path));
    model.files.dedup_by(|again, file| again.path == file.path);
    model.incomplete = describe_refused_keys(refused.iter());
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

/// A sentence for each key that is none, and one for those that are not told of.
fn describe_refused_keys<'k>(keys: impl Iterator<Item = &'k String>) -> Vec<String> {
    let mut keys = keys.peekable();
    let first = keys.by_ref().take(MAX_TOLD);
    let mut told: Vec<String> = first
        .map(|key| {
            format!("{}: is no path of a file in a model; it is not read", display_name(key))
        })
        .collect();
    if keys.peek().is_some() {
        told.push("more keys are no paths of files in a model; they are not read".to_owned());
    }
    told
}

fn unlisted(listing: &BucketListing<'_>, prefix: &str, why: String) -> ListedModel {
    ListedModel::unreadable(listing.address.model_name(prefix), why)
}
