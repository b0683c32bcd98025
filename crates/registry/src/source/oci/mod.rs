//! OCI registries as sources: models as artifacts of ModelPack, KitOps, Docker and ORAS.
//!
//! A tag is a model, and the digest of its manifest is its version. A layer that is a file is read by ranges, and its
//! digest is checked while its tensors are measured. A packed layer is read once and checked while it is unpacked. All
//! data of the registry is checked against digests.

mod archive;
mod blob;
mod challenge;
mod client;
mod compressed;
mod credentials;
mod layers;
mod login;
mod manifest;
mod media;
mod open;
mod reference;
mod signatures;

use super::remote::http::Http;
use super::remote::{RequestLimits, WindowCache};
use super::{ListedModel, OpenedModel, Source, SourceError, find_seal, local};
use client::{FetchedManifest, RegistryClient};
use credentials::Credentials;
use layers::Layers;
use manifest::ManifestDocument;
use oci_spec::image::{Descriptor, ImageIndex};
use open::LayerFiles;
use reference::{ManifestSelector, OciReference};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorseal_base::display::display_name;
use tensorseal_format::{Checkpoint, RemoteError};

/// The largest number of tags that are listed.
const MAX_TAGS: usize = 1_000_000;

/// The annotation of index entries that describe another entry and are not models.
const DESCRIBES: &str = "vnd.docker.reference.type";

/// A repository of an OCI registry as a source.
#[derive(Debug)]
pub struct OciSource {
    target: OciReference,
    registry: Arc<RegistryClient>,
    windows: Arc<WindowCache>,
    spool: PathBuf,
}

/// Opens `oci://host[:port]/repository[:tag|@digest]`. Without a tag or digest, all tags of the repository are listed. Plain
/// HTTP is used for loopback addresses, and for `oci+http://`. Credentials come from Docker's `config.json`. Layers that
/// cannot be read by ranges are fetched to temporary files in `spool`. No request is sent.
///
/// # Errors
/// Returns [`SourceError::Invalid`] if the URI is not valid or the credentials cannot be read.
pub fn open(uri: &str, spool: &Path) -> Result<Box<dyn Source>, SourceError> {
    Ok(Box::new(OciSource::open(uri, spool, RequestLimits::default())?))
}

impl OciSource {
    /// Opens a source as [`open()`] does, with these limits.
    ///
    /// # Errors
    /// Returns the errors of [`open()`].
    pub fn open(uri: &str, spool: &Path, limits: RequestLimits) -> Result<Self, SourceError> {
        let target = OciReference::parse(uri)?;
        let invalid =
            |reason: String| SourceError::Invalid { source_name: target.name.clone(), reason };
        let credentials =
            Credentials::for_account(&target.account).map_err(|e| invalid(e.to_string()))?;
        let http = Http::new(limits).map_err(|e| SourceError::at(&target.name, e))?;
        let registry = Arc::new(RegistryClient::new(http, &target, credentials));
        let windows = Arc::new(WindowCache::with_runtime(registry.http().runtime()));
        Ok(Self { target, registry, windows, spool: spool.to_owned() })
    }

    fn at(&self, reference: &str, error: RemoteError) -> SourceError {
        SourceError::at(&self.registry.place(reference), error)
    }

    /// Lists all tags, page by page.
    fn list_tags(
        &self,
        each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        let at = |error| SourceError::at(&self.target.name, error);
        let mut next = Some(self.registry.first_tags());
        let mut seen = 0;
        while let Some(url) = next {
            let Some(page) = self.registry.tags(&url).map_err(at)? else {
                return Err(at(RemoteError::Unavailable(
                    "the repository does not exist".to_owned(),
                )));
            };
            seen += page.names.len();
            if seen > MAX_TAGS || (page.names.is_empty() && page.next.is_some()) {
                let why = format!("the list of tags does not end after {seen} entries");
                return Err(at(RemoteError::Unavailable(why)));
            }
            for tag in page.names.iter().filter(|tag| !signatures::is_referrers_tag(tag)) {
                if self.list_one(tag, each)?.is_break() {
                    return Ok(());
                }
            }
            next = page.next;
        }
        Ok(())
    }

    /// Lists the model of a tag or digest, or the models of an index.
    fn list_one(
        &self,
        reference: &str,
        each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SourceError> {
        let separator = if reference.contains(':') { '@' } else { ':' };
        let name = format!("{}{separator}{reference}", self.target.repository);
        let (found, document) = match self.document(reference) {
            Ok(Some(read)) => read,
            // The tag was deleted after it was listed.
            Ok(None) if self.target.manifests == ManifestSelector::All => {
                return Ok(ControlFlow::Continue(()));
            }
            Ok(None) => {
                let why = RemoteError::Unavailable(
                    "the manifest does not exist in the registry".to_owned(),
                );
                return Err(self.at(reference, why));
            }
            Err(error) => return Ok(each(ListedModel::unreadable(name, error))),
        };
        match document {
            ManifestDocument::Manifest(manifest) => {
                Ok(each(self.listed(name, &found.digest, &Layers::from_manifest(&manifest))))
            }
            ManifestDocument::Index(index) => Ok(self.list_index(&name, &index, each)),
        }
    }

    /// Lists the models of an index. Each is named by its platform if that is unique, and otherwise by its position.
    fn list_index(
        &self,
        name: &str,
        index: &ImageIndex,
        each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let platforms: Vec<Option<String>> = index.manifests().iter().map(platform).collect();
        for (at, entry) in index.manifests().iter().enumerate() {
            if entry.annotations().as_ref().is_some_and(|all| all.contains_key(DESCRIBES)) {
                continue;
            }
            let unique = platforms[at].as_ref().filter(|platform| {
                platforms.iter().flatten().filter(|other| other == platform).count() == 1
            });
            let name = match unique {
                Some(platform) => format!("{name}[{platform}]"),
                None => format!("{name}[{at}]"),
            };
            let digest = entry.digest().to_string();
            let listed = match self.document(&digest) {
                Ok(Some((found, ManifestDocument::Manifest(manifest)))) => {
                    self.listed(name, &found.digest, &Layers::from_manifest(&manifest))
                }
                Ok(Some((_, ManifestDocument::Index(_)))) => {
                    ListedModel::unreadable(name, "nested indexes are not supported")
                }
                Ok(None) => {
                    ListedModel::unreadable(name, "its manifest does not exist in the registry")
                }
                Err(error) => ListedModel::unreadable(name, error),
            };
            each(listed)?;
        }
        ControlFlow::Continue(())
    }

    /// Fetches the manifest of a tag or digest; `None` if it does not exist.
    fn document(
        &self,
        reference: &str,
    ) -> Result<Option<(FetchedManifest, ManifestDocument)>, SourceError> {
        let unusable = |why: String| self.at(reference, RemoteError::Unavailable(why));
        if !is_tag(reference) && !is_digest(reference) {
            return Err(unusable("not a tag or a sha256 digest".to_owned()));
        }
        let found = self.registry.manifest(reference).map_err(|error| self.at(reference, error))?;
        let Some(found) = found else { return Ok(None) };
        let requested = Some(reference).filter(|reference| is_digest(reference));
        let declared =
            found.declared_digest.as_deref().filter(|declared| declared.starts_with("sha256:"));
        if let Some(expected) =
            [requested, declared].into_iter().flatten().find(|d| *d != found.digest)
        {
            let expected = display_name(expected);
            return Err(unusable(format!(
                "the manifest has another digest: {}, not {expected}",
                found.digest
            )));
        }
        let document =
            ManifestDocument::parse(&found.bytes).map_err(|error| unusable(error.to_string()))?;
        Ok(Some((found, document)))
    }

    fn listed(&self, name: String, digest: &str, layers: &Layers) -> ListedModel {
        // This is for the inventory only, so an error is not reported.
        let signed = signatures::is_signed(&self.registry, digest).unwrap_or(false);
        let mut listed = ListedModel {
            name,
            version: Some(digest.to_owned()),
            files: layers.layers.iter().map(layers::Layer::listed).collect(),
            incomplete: layers.problems.clone(),
            signed,
            ..ListedModel::default()
        };
        listed.detect_signatures();
        listed
    }
}

impl Source for OciSource {
    fn name(&self) -> &str {
        &self.target.name
    }

    fn list(
        &self,
        each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        match &self.target.manifests {
            ManifestSelector::All => self.list_tags(each),
            ManifestSelector::Tag(reference) | ManifestSelector::Digest(reference) => {
                self.list_one(reference, each).map(drop)
            }
        }
    }

    fn open(&self, listed: &ListedModel) -> Result<OpenedModel, SourceError> {
        let model = format!("{}/{}", self.target.endpoint.name, listed.name);
        let Some(digest) = &listed.version else {
            let why = RemoteError::Unavailable("the manifest could not be read".to_owned());
            return Err(SourceError::at(&model, why));
        };
        let manifest = match self.document(digest)? {
            Some((_, ManifestDocument::Manifest(manifest))) => manifest,
            Some((_, ManifestDocument::Index(_))) => {
                return Err(
                    self.at(digest, RemoteError::Unavailable("an index is not a model".to_owned()))
                );
            }
            None => {
                return Err(
                    self.at(digest, RemoteError::Changed("the manifest was deleted".to_owned()))
                );
            }
        };
        let mut files = LayerFiles::new(&self.registry, &self.windows, &self.spool, &model);
        files.add_all(&Layers::from_manifest(&manifest))?;
        let LayerFiles { files, listed, findings, .. } = files;
        let seal = find_seal(&files);
        let checkpoint = Checkpoint::open_remote(&model, files, &local::options())?;
        Ok(OpenedModel::with_files(checkpoint, findings, listed).with_seal(seal))
    }

    /// Checks that the tag still refers to the listed manifest. Everything else is pinned by digests.
    fn ensure_unchanged(&self, listed: &ListedModel) -> Result<(), SourceError> {
        let tag = listed.name.strip_prefix(self.target.repository.as_str());
        let tag = tag.and_then(|rest| rest.strip_prefix(':')).filter(|tag| is_tag(tag));
        let Some(tag) = tag else { return Ok(()) };
        let now = self.registry.manifest(tag).map_err(|error| self.at(tag, error))?;
        match now.is_some_and(|now| Some(&now.digest) == listed.version.as_ref()) {
            true => Ok(()),
            false => {
                Err(self
                    .at(tag, RemoteError::Changed("the tag refers to another manifest".to_owned())))
            }
        }
    }
}

/// Returns the platform of an index entry: `os/architecture[/variant]`.
fn platform(entry: &Descriptor) -> Option<String> {
    let platform = entry.platform().as_ref()?;
    let mut text = format!("{}/{}", platform.os(), platform.architecture());
    if let Some(variant) = platform.variant() {
        text.push_str(&format!("/{variant}"));
    }
    Some(display_name(&text))
}

/// Returns whether a text is a tag in the grammar of the distribution specification.
fn is_tag(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128
        && text.starts_with(is_word)
        && text.chars().all(|c| is_word(c) || matches!(c, '.' | '-'))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").and_then(tensorseal_base::hex::unhex).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_digests() {
        for tag in ["latest", "v1.0-rc.1", "_", "0", "a..b"] {
            assert!(is_tag(tag), "{tag}");
        }
        for text in ["", ".", "..", "-a", "a/b", "a:b", "a?b", "a#b", "é", &"a".repeat(129)] {
            assert!(!is_tag(text), "{text}");
        }
        assert!(is_digest(&format!("sha256:{}", "0a".repeat(32))));
        assert!(!is_digest(&format!("sha256:{}", "0A".repeat(32))));
        assert!(!is_digest("sha256:00") && !is_digest("sha512:00"));
    }
}
