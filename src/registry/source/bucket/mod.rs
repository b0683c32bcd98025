//! Object stores: Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.
//!
//! - [`address`] reads `s3://bucket/prefix`, [`connect`] makes a client with the credentials of the
//!   environment ([`profile`]: those of the provider's own files).
//! - [`watch`] sees every answer before the client does; [`page`] takes out of a list what no client may
//!   see.
//! - [`pages`] lists, [`walk`] finds the models, [`object`] reads one object by ranges.
//!
//! Nothing is written to a bucket, and nothing but `GET` is asked.

mod address;
mod connect;
mod error;
mod object;
mod page;
mod pages;
mod profile;
mod walk;
mod watch;

use super::local::options;
use super::remote::{Limits, Windowed, Windows};
use super::{Listed, OpenedModel, Source, SourceError, seal_among};
use crate::checkpoint::{Checkpoint, OpenError, RemoteFile};
use address::Address;
use connect::Store;
use object::Object;
use object_store::path::Path;
use pages::Listing;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A bucket, or what lies below a prefix of it.
#[derive(Debug)]
struct Bucket {
    address: Address,
    name: String,
    store: Arc<dyn Store>,
    limits: Limits,
    windows: Arc<Windows>,
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
    open_with(uri, settings, Limits::default())
}

/// [`open`], with `settings` in place of the environment.
///
/// # Errors
/// As those.
pub fn open_with(
    uri: &str,
    settings: impl IntoIterator<Item = (String, String)>,
    limits: Limits,
) -> Result<Box<dyn Source>, SourceError> {
    let address = Address::parse(uri)?;
    // What is not set and what is empty are the same to the tools of the providers.
    let settings = settings.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let store = connect::connect(&address, settings, &limits)?;
    let (name, windows) = (address.to_string(), Arc::default());
    Ok(Box::new(Bucket { address, name, store, limits, windows }))
}

impl Bucket {
    fn listing(&self) -> Listing<'_> {
        Listing { store: self.store.as_ref(), limits: &self.limits, address: &self.address }
    }
}

impl Source for Bucket {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(&self, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), SourceError> {
        walk::models(&self.listing(), each)
    }

    fn open(&self, listed: &Listed) -> Result<OpenedModel, SourceError> {
        let below = self.address.below(&listed.name);
        let mut files: Vec<(String, Arc<dyn RemoteFile>)> = Vec::with_capacity(listed.files.len());
        for file in listed.files.iter().chain(&listed.beside) {
            let key = format!("{below}{}", file.path);
            let place = self.address.place(&key);
            let key = Path::parse(&key).map_err(|_| SourceError::Invalid {
                source_name: place.clone(),
                why: "no object can have this name".into(),
            })?;
            let object =
                Object::new(Arc::clone(&self.store), key, place, file, self.limits.clone());
            files.push((file.path.clone(), Arc::new(Windowed::new(object, &self.windows))));
        }
        let (name, seal) = (self.address.place(&below), seal_among(&files));
        let checkpoint = Checkpoint::open_remote(&name, files, &options());
        let checkpoint = checkpoint.map_err(|error| match error {
            OpenError::Changed { path } => SourceError::Changed {
                place: path.display().to_string(),
                what: "it is no longer the object that was listed".into(),
            },
            error => SourceError::Open(error),
        })?;
        Ok(OpenedModel::as_listed(checkpoint).sealed(seal))
    }
}
