//! OCI registries: models as artifacts of ModelPack, KitOps, Docker and ORAS.
//!
//! A tag is a model, and the digest of its manifest is its version. A layer that is a file is read by
//! ranges, and its digest is checked in the pass that measures its tensors; one that is packed is read once
//! and checked while it is unpacked. What the registry says is believed only as far as a digest proves it.

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

/// Most tags of a repository that are listed.
const MOST_TAGS: usize = 1_000_000;

/// Annotation of an entry of an index that describes another entry, and is no model.
const DESCRIBES: &str = "vnd.docker.reference.type";

/// A repository of an OCI registry.
#[derive(Debug)]
pub struct OciSource {
    target: OciReference,
    registry: Arc<RegistryClient>,
    windows: Arc<WindowCache>,
    spool: PathBuf,
}

/// Opens `oci://host[:port]/repository[:tag|@digest]`; without tag and digest, all tags of the repository.
/// Plain HTTP is spoken to this machine, and by `oci+http://`. Credentials are those that Docker's tools
/// keep in `config.json`. What cannot be read by ranges goes to temporary files in `spool`.
///
/// # Errors
/// When it is no such URI, or credentials cannot be read. Nothing is asked of the registry yet.
pub fn open(uri: &str, spool: &Path) -> Result<Box<dyn Source>, SourceError> {
    Ok(Box::new(OciSource::open(uri, spool, RequestLimits::default())?))
}

impl OciSource {
    /// [`open()`], with limits of one's own.
    ///
    /// # Errors
    /// Those of [`open()`].
    pub fn open(uri: &str, spool: &Path, limits: RequestLimits) -> Result<Self, SourceError> {
        let target = OciReference::parse(uri)?;
        let invalid = |why: String| SourceError::Invalid { source_name: target.name.clone(), why };
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

    /// All tags, page by page.
    fn list_tags(
        &self,
        each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        let at = |error| SourceError::at(&self.target.name, error);
        let mut next = Some(self.registry.first_tags());
        let mut seen = 0;
        while let Some(url) = next {
            let Some(page) = self.registry.tags(&url).map_err(at)? else {
                return Err(at(RemoteError::Unavailable("there is no such repository".to_owned())));
            };
            seen += page.names.len();
            if seen > MOST_TAGS || (page.names.is_empty() && page.next.is_some()) {
                let why = format!("its list of tags does not end after {seen}");
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

    /// The model of a tag or digest, or those of an index.
    fn list_one(
        &self,
        reference: &str,
        each: &mut dyn FnMut(ListedModel) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SourceError> {
        let separator = if reference.contains(':') { '@' } else { ':' };
        let name = format!("{}{separator}{reference}", self.target.repository);
        let (found, document) = match self.document(reference) {
            Ok(Some(read)) => read,
            // Of a list, it went meanwhile; of a name that was given, that is for whoever gave it.
            Ok(None) if self.target.manifests == ManifestSelector::All => {
                return Ok(ControlFlow::Continue(()));
            }
            Ok(None) => {
                let why = RemoteError::Unavailable("the registry does not have it".to_owned());
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

    /// The models of an index, each by its platform, or by its place in it.
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
            let own = platforms[at].as_ref();
            let own =
                own.filter(|own| platforms.iter().flatten().filter(|p| p == own).count() == 1);
            let name = match own {
                Some(platform) => format!("{name}[{platform}]"),
                None => format!("{name}[{at}]"),
            };
            let digest = entry.digest().to_string();
            let listed = match self.document(&digest) {
                Ok(Some((found, ManifestDocument::Manifest(manifest)))) => {
                    self.listed(name, &found.digest, &Layers::from_manifest(&manifest))
                }
                Ok(Some((_, ManifestDocument::Index(_)))) => {
                    ListedModel::unreadable(name, "it is an index in an index")
                }
                Ok(None) => {
                    ListedModel::unreadable(name, "the registry does not have its manifest")
                }
                Err(error) => ListedModel::unreadable(name, error),
            };
            each(listed)?;
        }
        ControlFlow::Continue(())
    }

    /// What a tag or digest leads to, if it does.
    fn document(
        &self,
        reference: &str,
    ) -> Result<Option<(FetchedManifest, ManifestDocument)>, SourceError> {
        let unusable = |why: String| self.at(reference, RemoteError::Unavailable(why));
        if !is_tag(reference) && !is_digest(reference) {
            return Err(unusable("it is neither a tag nor a digest by sha256".to_owned()));
        }
        let found = self.registry.manifest(reference).map_err(|error| self.at(reference, error))?;
        let Some(found) = found else { return Ok(None) };
        let asked = Some(reference).filter(|reference| is_digest(reference));
        let stated =
            found.declared_digest.as_deref().filter(|stated| stated.starts_with("sha256:"));
        if let Some(expected) = [asked, stated].into_iter().flatten().find(|d| *d != found.digest) {
            let expected = display_name(expected);
            return Err(unusable(format!(
                "the manifest is not the one of its digest: it is {}, not {expected}",
                found.digest
            )));
        }
        let document =
            ManifestDocument::parse(&found.bytes).map_err(|error| unusable(error.to_string()))?;
        Ok(Some((found, document)))
    }

    fn listed(&self, name: String, digest: &str, layers: &Layers) -> ListedModel {
        // Whether it is signed is for the inventory: a registry that does not tell lists all the same.
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
            let why = RemoteError::Unavailable("its manifest could not be read".to_owned());
            return Err(SourceError::at(&model, why));
        };
        let manifest = match self.document(digest)? {
            Some((_, ManifestDocument::Manifest(manifest))) => manifest,
            Some((_, ManifestDocument::Index(_))) => {
                return Err(self.at(digest, RemoteError::Unavailable("it is an index".to_owned())));
            }
            None => {
                return Err(
                    self.at(digest, RemoteError::Changed("its manifest is gone".to_owned()))
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

    /// All that was read is pinned by digests; a tag must still lead to them.
    fn ensure_unchanged(&self, listed: &ListedModel) -> Result<(), SourceError> {
        let tag = listed.name.strip_prefix(self.target.repository.as_str());
        let tag = tag.and_then(|rest| rest.strip_prefix(':')).filter(|tag| is_tag(tag));
        let Some(tag) = tag else { return Ok(()) };
        let now = self.registry.manifest(tag).map_err(|error| self.at(tag, error))?;
        match now.is_some_and(|now| Some(&now.digest) == listed.version.as_ref()) {
            true => Ok(()),
            false => Err(self.at(tag, RemoteError::Changed("the tag was moved".to_owned()))),
        }
    }
}

/// `os/architecture[/variant]`.
fn platform(entry: &Descriptor) -> Option<String> {
    let platform = entry.platform().as_ref()?;
    let mut text = format!("{}/{}", platform.os(), platform.architecture());
    if let Some(variant) = platform.variant() {
        text.push_str(&format!("/{variant}"));
    }
    Some(display_name(&text))
}

/// The grammar of tags in the distribution specification.
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
