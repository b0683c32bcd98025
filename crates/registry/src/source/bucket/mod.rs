//! Object stores: Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.
//!
//! - `address` reads `s3://bucket/prefix`, `connect` makes a client with the credentials of the
//!   environment (`profile`: those of the provider's own files).
//! - `watch` sees every answer before the client does; `page` takes out of a list what no client may
//!   see.
//! - `pages` lists, `walk` finds the models, `object` reads one object by ranges, `checksum` is what
//!   an S3 claims of it.
//!
//! Nothing is written to a bucket, and nothing but `GET` and `HEAD` is asked.

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

/// A bucket, or what lies below a prefix of it.
#[derive(Debug)]
struct BucketSource {
    address: Address,
    name: String,
    store: Arc<dyn Store>,
    limits: RequestLimits,
    runtime: NetworkRuntime,
    windows: Arc<WindowCache>,
}

/// Opens `s3://BUCKET[/PREFIX]`, `gs://BUCKET[/PREFIX]` or `az://CONTAINER[/PREFIX]`. Credentials, region
/// and endpoint come from the environment, under the names that the providers' own tools use (`AWS_…`,
/// `GOOGLE_…`, `AZURE_…`), or from their files. Nothing is asked of the store yet.
///
/// # Errors
/// [`SourceError::Invalid`] when the address or the settings cannot be used.
pub fn open(uri: &str) -> Result<Box<dyn Source>, SourceError> {
    let settings = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    open_with(uri, settings, RequestLimits::default())
}

/// [`open`], with `settings` in place of the environment.
///
/// # Errors
/// As those.
pub fn open_with(
    uri: &str,
    settings: impl IntoIterator<Item = (String, String)>,
    limits: RequestLimits,
) -> Result<Box<dyn Source>, SourceError> {
    let address = Address::parse(uri)?;
    // What is not set and what is empty are the same to the tools of the providers.
    let settings = settings.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let waiting = NetworkRuntime::default();
    let store = connect::connect(&address, settings, &limits, &waiting)?;
    let (name, windows) = (address.to_string(), Arc::new(WindowCache::with_runtime(&waiting)));
    Ok(Box::new(BucketSource { address, name, store, limits, runtime: waiting, windows }))
}

impl BucketSource {
    fn listing(&self) -> BucketListing<'_> {
        let Self { address, store, limits, runtime: waiting, .. } = self;
        BucketListing { store: store.as_ref(), limits, runtime: waiting, address }
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
                why: "no object can have this name".into(),
            })?;
            let waits = (self.runtime.clone(), self.limits.clone());
            objects.push(BucketObject::new(Arc::clone(&self.store), key, place, file, waits));
        }
        let known = match self.address.provider {
            Provider::S3 => {
                let claims = object::listed_digests(&objects[..listed.files.len()])?;
                Some(with_digests(&listed.files, claims))
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
                what: "it is no longer the object that was listed".into(),
            },
            error => SourceError::Open(error),
        })?;
        let opened = match known {
            Some(known) => OpenedModel::with_files(checkpoint, Vec::new(), known),
            None => OpenedModel::from_checkpoint(checkpoint),
        };
        Ok(opened.with_seal(seal))
    }

    fn ensure_unchanged(&self, listed: &ListedModel) -> Result<(), SourceError> {
        let now = walk::model(&self.listing(), &self.address.below(&listed.name))?;
        listed.ensure_unchanged(&now)
    }
}

/// Files as they were listed, and what is claimed of each.
fn with_digests(files: &[ListedFile], claims: Vec<Option<ListedDigest>>) -> Vec<ListedFile> {
    let of = |(file, claim): (&ListedFile, Option<ListedDigest>)| {
        let claims = file.digests.iter().cloned().chain(claim).collect();
        ListedFile { digests: claims, ..file.clone() }
    };
    files.iter().zip(claims).map(of).collect()
}
