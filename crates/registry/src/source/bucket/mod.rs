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
mod page;
mod pages;
mod profile;
mod walk;
mod watch;

use super::local::options;
use super::remote::{Limits, Waiting, Windowed, Windows};
use super::{Claim, Listed, ListedFile, OpenedModel, Source, SourceError, seal_among};
use address::{Address, Provider};
use connect::Store;
use object::Object;
use object_store::path::Path;
use pages::Listing;
use std::ops::ControlFlow;
use std::sync::Arc;
use tensorseal_format::{Checkpoint, OpenError, RemoteFile};

/// A bucket, or what lies below a prefix of it.
#[derive(Debug)]
struct Bucket {
    address: Address,
    name: String,
    store: Arc<dyn Store>,
    limits: Limits,
    waiting: Waiting,
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
    let waiting = Waiting::default();
    let store = connect::connect(&address, settings, &limits, &waiting)?;
    let (name, windows) = (address.to_string(), Arc::new(Windows::of(&waiting)));
    Ok(Box::new(Bucket { address, name, store, limits, waiting, windows }))
}

impl Bucket {
    fn listing(&self) -> Listing<'_> {
        let Self { address, store, limits, waiting, .. } = self;
        Listing { store: store.as_ref(), limits, waiting, address }
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
        let listed_objects = listed.files.iter().chain(&listed.beside);
        let mut objects = Vec::with_capacity(listed.files.len() + listed.beside.len());
        for file in listed_objects.clone() {
            let key = format!("{below}{}", file.path);
            let place = self.address.place(&key);
            let key = Path::parse(&key).map_err(|_| SourceError::Invalid {
                source_name: place.clone(),
                why: "no object can have this name".into(),
            })?;
            let waits = (self.waiting.clone(), self.limits.clone());
            objects.push(Object::new(Arc::clone(&self.store), key, place, file, waits));
        }
        let known = match self.address.provider {
            Provider::S3 => {
                let claims = object::claims(&objects[..listed.files.len()])?;
                Some(claimed(&listed.files, claims))
            }
            Provider::Google | Provider::Azure => None,
        };
        let windowed =
            |object| -> Arc<dyn RemoteFile> { Arc::new(Windowed::new(object, &self.windows)) };
        let paths = listed_objects.map(|file| file.path.clone());
        let files: Vec<_> = paths.zip(objects.into_iter().map(windowed)).collect();
        let (name, seal) = (self.address.place(&below), seal_among(&files));
        let checkpoint = Checkpoint::open_remote(&name, files, &options());
        let checkpoint = checkpoint.map_err(|error| match error {
            OpenError::Changed { path } => SourceError::Changed {
                place: path.display().to_string(),
                what: "it is no longer the object that was listed".into(),
            },
            error => SourceError::Open(error),
        })?;
        let opened = match known {
            Some(known) => OpenedModel::of_others(checkpoint, Vec::new(), known),
            None => OpenedModel::as_listed(checkpoint),
        };
        Ok(opened.sealed(seal))
    }

    fn still_lists(&self, listed: &Listed) -> Result<(), SourceError> {
        let now = walk::model(&self.listing(), &self.address.below(&listed.name))?;
        listed.hold_to(&now)
    }
}

/// Files as they were listed, and what is claimed of each.
fn claimed(files: &[ListedFile], claims: Vec<Option<Claim>>) -> Vec<ListedFile> {
    let of = |(file, claim): (&ListedFile, Option<Claim>)| {
        let claims = file.claims.iter().cloned().chain(claim).collect();
        ListedFile { claims, ..file.clone() }
    };
    files.iter().zip(claims).map(of).collect()
}
