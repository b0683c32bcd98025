//! Object stores as sources: Amazon S3 and compatible stores, Google Cloud Storage, and Azure Blob Storage.
//!
//! - `address` parses `s3://bucket/prefix`; `connect` creates a client with the credentials of the environment, or of
//!   the provider's files (`profile`).
//! - `response_recorder` inspects every response before the client does; `page_filter` removes invalid keys from
//!   listings.
//! - `pages` lists a bucket, and `walk` finds its models; `object` reads one object by ranges, and `checksum` reads the
//!   checksum that S3 keeps.
//!
//! Only `GET` and `HEAD` requests are sent. Nothing is written to a bucket.

mod address;
mod checksum;
mod connect;
mod error;
mod object;
mod page_filter;
mod pages;
mod profile;
mod response_recorder;
mod walk;

use super::local::options;
use super::remote::{NetworkRuntime, RequestLimits, WindowCache, WindowedFile};
use super::{ListedDigest, ListedFile, ListedModel, OpenedModel, Source, SourceError, find_seal};
use address::{Address, Provider};
use connect::Store;
use object::BucketObject;
use object_store::path::Path;
use pages::BucketListing;
use std::ops::ControlFlow;
use std::sync::Arc;
use tensorseal_format::{Checkpoint, OpenError, RemoteFile};

/// A bucket or a prefix of it as a source of models.
#[derive(Debug)]
struct BucketSource {
    address: Address,
    name: String,
    store: Arc<dyn Store>,
    limits: RequestLimits,
    runtime: NetworkRuntime,
    windows: Arc<WindowCache>,
}

/// Opens `s3://BUCKET[/PREFIX]`, `gs://BUCKET[/PREFIX]` or `az://CONTAINER[/PREFIX]`. Credentials, region and endpoint
/// come from the environment, under the names that the tools of the providers use (`AWS_…`, `GOOGLE_…`, `AZURE_…`), or
/// from their files. No request is sent.
///
/// # Errors
/// Returns [`SourceError::Invalid`] if the address or the settings are not valid.
pub fn open(uri: &str) -> Result<Box<dyn Source>, SourceError> {
    let settings = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    open_with(uri, settings, RequestLimits::default())
}

/// Opens a bucket as [`open`] does, with `settings` instead of the environment.
///
/// # Errors
/// Returns [`SourceError::Invalid`] if the address or the settings are not valid.
pub fn open_with(
    uri: &str,
    settings: impl IntoIterator<Item = (String, String)>,
    limits: RequestLimits,
) -> Result<Box<dyn Source>, SourceError> {
    let address = Address::parse(uri)?;
    // The tools of the providers treat empty variables as unset.
    let settings = settings.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let runtime = NetworkRuntime::default();
    let store = connect::connect(&address, settings, &limits, &runtime)?;
    let (name, windows) = (address.to_string(), Arc::new(WindowCache::with_runtime(&runtime)));
    Ok(Box::new(BucketSource { address, name, store, limits, runtime, windows }))
}

impl BucketSource {
    fn listing(&self) -> BucketListing<'_> {
        let Self { address, store, limits, runtime, .. } = self;
        BucketListing { store: store.as_ref(), limits, runtime, address }
    }
}

impl Source for BucketSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(
        &self,
        each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        walk::models(&self.listing(), each)
    }

    fn open(&self, listed: &ListedModel) -> Result<OpenedModel, SourceError> {
        let below = self.address.below(&listed.name);
        let listed_objects = listed.files.iter().chain(&listed.sidecars);
        let mut objects = Vec::with_capacity(listed.files.len() + listed.sidecars.len());
        for file in listed_objects.clone() {
            let key = format!("{below}{}", file.path);
            let place = self.address.place(&key);
            let key = Path::parse(&key).map_err(|_| SourceError::Invalid {
                source_name: place.clone(),
                reason: "not a valid object key".into(),
            })?;
            let network = (self.runtime.clone(), self.limits.clone());
            objects.push(BucketObject::new(Arc::clone(&self.store), key, place, file, network));
        }
        let candidates = match self.address.provider {
            Provider::S3 => {
                let digests = object::listed_digests(&objects[..listed.files.len()])?;
                Some(with_digests(&listed.files, digests))
            }
            Provider::Google | Provider::Azure => None,
        };
        let windowed =
            |object| -> Arc<dyn RemoteFile> { Arc::new(WindowedFile::new(object, &self.windows)) };
        let paths = listed_objects.map(|file| file.path.clone());
        let files: Vec<_> = paths.zip(objects.into_iter().map(windowed)).collect();
        let (name, seal) = (self.address.place(&below), find_seal(&files));
        let checkpoint = Checkpoint::open_remote(&name, files, &options());
        let checkpoint = checkpoint.map_err(|error| match error {
            OpenError::ChangedSinceListing { path } => SourceError::Changed {
                place: path.display().to_string(),
                what: "the object is no longer the listed one".into(),
            },
            error => SourceError::Open(error),
        })?;
        let opened = match candidates {
            Some(candidates) => OpenedModel::with_files(checkpoint, Vec::new(), candidates),
            None => OpenedModel::from_checkpoint(checkpoint),
        };
        Ok(opened.with_seal(seal))
    }

    fn ensure_unchanged(&self, listed: &ListedModel) -> Result<(), SourceError> {
        let now = walk::model(&self.listing(), &self.address.below(&listed.name))?;
        listed.ensure_unchanged(&now)
    }
}

/// Adds the digest of each object to the listed files.
fn with_digests(files: &[ListedFile], digests: Vec<Option<ListedDigest>>) -> Vec<ListedFile> {
    let of = |(file, digest): (&ListedFile, Option<ListedDigest>)| {
        let digests = file.digests.iter().cloned().chain(digest).collect();
        ListedFile { digests, ..file.clone() }
    };
    files.iter().zip(digests).map(of).collect()
}
