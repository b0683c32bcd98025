//! Lists the layers of a manifest as model files.

use super::super::{ChangeToken, ListedDigest, ListedFile};
use super::media::{self, LayerPacking};
use oci_spec::image::{Descriptor, DigestAlgorithm, ImageManifest};
use std::collections::{BTreeMap, HashMap, HashSet};
use tensorseal_base::display::{display_name, quoted};
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_base::hex::unhex;

/// The directory of layers without a name.
const NAMELESS: &str = "blobs";

/// The media type of an empty config.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A layer of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    /// The path in the listing: that of the file, or a path for the layer if it is packed.
    pub path: String,
    /// The path of the packed file, if the layer is a single packed file.
    pub packed_path: String,
    /// The digest by which the layer is addressed: `sha256:…`.
    pub digest: String,
    /// The same digest as bytes; `None` if its algorithm is not SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// The length in bytes according to the manifest.
    pub bytes: u64,
    /// The packing of the layer.
    pub packing: LayerPacking,
}

/// The layers of a manifest in byte order of their paths, and the problems of the manifest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layers {
    pub layers: Vec<Layer>,
    /// The problems, one sentence each.
    pub problems: Vec<String>,
}

impl Layers {
    /// Returns the layers of a manifest, including its config, because clients use it.
    pub(super) fn from_manifest(manifest: &ImageManifest) -> Self {
        let config = manifest.config();
        let has_config = config.media_type().as_ref() != EMPTY;
        let descriptors: Vec<&Descriptor> = manifest.layers().iter().collect();
        let mut layers = Self::default();
        let mut paths = HashSet::new();
        let default_names = default_names(&descriptors);
        for (descriptor, default_name) in descriptors.into_iter().zip(default_names) {
            layers.add(descriptor, default_name, &mut paths);
        }
        if has_config {
            layers.add(config, Some("manifest/config.json".to_owned()), &mut paths);
        }
        layers.layers.sort_by(|a, b| a.path.cmp(&b.path));
        layers
    }

    fn add(
        &mut self,
        descriptor: &Descriptor,
        default_name: Option<String>,
        paths: &mut HashSet<String>,
    ) {
        let none = HashMap::new();
        let annotations = descriptor.annotations().as_ref().unwrap_or(&none);
        let packing = LayerPacking::from_media_type(descriptor.media_type().as_ref(), annotations);
        let digest = descriptor.digest();
        let nameless = format!("{NAMELESS}/{}-{}", digest.algorithm(), digest.digest());
        // An invalid path becomes a finding when the model is opened.
        let named = media::annotated_path(annotations).map(str::to_owned).or(default_name);
        let packed_path = named.unwrap_or_else(|| nameless.clone());
        let mut path = match packing.is_raw() {
            true => packed_path.clone(),
            false => format!("{nameless}{}", packing.extension()),
        };
        if !paths.insert(path.clone()) {
            // The same blob with the same name is the same file.
            if self
                .layers
                .iter()
                .any(|layer| layer.path == path && layer.digest == digest.to_string())
            {
                return;
            }
            self.problems
                .push(format!("the manifest has two layers with the path {}", quoted(&path)));
            path = nameless;
            if !paths.insert(path.clone()) {
                return;
            }
        }
        let sha256 = match digest.algorithm() {
            DigestAlgorithm::Sha256 => unhex(digest.digest()),
            _ => None,
        };
        if sha256.is_none() {
            let algorithm = display_name(digest.algorithm().as_ref());
            self.problems.push(format!(
                "the digest of {} is not checked: {algorithm} is not supported",
                quoted(&path)
            ));
        }
        let digest = digest.to_string();
        self.layers.push(Layer {
            path,
            packed_path,
            digest,
            sha256,
            bytes: descriptor.size(),
            packing,
        });
    }
}

impl Layer {
    /// Returns the layer as a listed file. The content of a packed layer is not listed, and its digest is checked when it is
    /// unpacked.
    pub(super) fn listed(&self) -> ListedFile {
        let listed_digest = |digest: [u8; 32]| ListedDigest {
            algorithm: HashAlgorithm::Sha256,
            digest: digest.to_vec(),
            origin: "the manifest",
            remedy: "push it again from an intact copy",
        };
        ListedFile {
            path: self.path.clone(),
            bytes: self.bytes,
            change_token: ChangeToken::Digest(self.digest.clone()),
            digests: self
                .sha256
                .filter(|_| self.packing.is_raw())
                .map(listed_digest)
                .into_iter()
                .collect(),
        }
    }
}

/// Returns the default names of layers without a name, by their types. Several layers of one type are numbered like the
/// shards of a model.
fn default_names(descriptors: &[&Descriptor]) -> Vec<Option<String>> {
    let default_name: Vec<_> = descriptors
        .iter()
        .map(|descriptor| {
            let annotations = descriptor.annotations().as_ref();
            let is_named = annotations.is_some_and(|all| media::annotated_path(all).is_some());
            media::default_name(descriptor.media_type().as_ref()).filter(|_| !is_named)
        })
        .collect();
    let mut counts = BTreeMap::new();
    for name in default_name.iter().flatten() {
        *counts.entry(*name).or_insert(0u32) += 1;
    }
    let mut numbers = BTreeMap::new();
    let name = |default_name: Option<(&'static str, &'static str)>| {
        let (stem, extension) = default_name?;
        match counts.get(&(stem, extension)) {
            Some(count @ 2..) => {
                let number = numbers.entry((stem, extension)).or_insert(0u32);
                *number += 1;
                Some(format!("{stem}-{number:05}-of-{count:05}{extension}"))
            }
            _ => Some(format!("{stem}{extension}")),
        }
    };
    default_name.into_iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn digest(byte: u8) -> String {
        format!("sha256:{}", format!("{byte:02x}").repeat(32))
    }

    fn layer(media_type: &str, byte: u8, annotations: Value) -> Value {
        json!({"mediaType": media_type, "digest": digest(byte), "size": 7, "annotations": annotations})
    }

    fn layers(layers: &[Value]) -> Layers {
        let config = layer("application/vnd.oci.empty.v1+json", 0, json!({}));
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        Layers::from_manifest(&serde_json::from_value(manifest).unwrap())
    }

    fn paths_of(layers: &Layers) -> Vec<&str> {
        layers.layers.iter().map(|layer| layer.path.as_str()).collect()
    }

    #[test]
    fn a_model_pack() {
        let raw = "application/vnd.cncf.model.weight.v1.raw";
        let found = layers(&[
            layer(raw, 1, json!({"org.cncf.model.filepath": "model.safetensors"})),
            layer(
                "application/vnd.cncf.model.weight.config.v1.tar+gzip",
                2,
                json!({"org.cncf.model.filepath": "config"}),
            ),
            layer("application/octet-stream", 3, json!({})),
        ]);
        assert_eq!(found.problems, Vec::<String>::new());
        let packed = format!("blobs/sha256-{}.tar.gz", "02".repeat(32));
        let nameless = format!("blobs/sha256-{}", "03".repeat(32));
        assert_eq!(paths_of(&found), [packed.as_str(), &nameless, "model.safetensors"]);
        let listed: Vec<ListedFile> = found.layers.iter().map(Layer::listed).collect();
        assert_eq!(listed.iter().map(|file| file.digests.len()).collect::<Vec<_>>(), [0, 1, 1]);
        assert_eq!(listed[2].change_token, ChangeToken::Digest(digest(1)));
        assert_eq!(listed[2].digests[0].digest, [1; 32]);
    }

    #[test]
    fn default_names_of_docker_layers() {
        let gguf = "application/vnd.docker.ai.gguf.v3";
        let license = "application/vnd.docker.ai.license";
        let one = layers(&[layer(gguf, 1, json!({})), layer(license, 2, json!({}))]);
        assert_eq!(paths_of(&one), ["LICENSE", "model.gguf"]);
        let two = layers(&[layer(gguf, 1, json!({})), layer(gguf, 2, json!({}))]);
        assert_eq!(paths_of(&two), ["model-00001-of-00002.gguf", "model-00002-of-00002.gguf"]);
    }

    #[test]
    fn the_config_is_part_of_the_model() {
        let config = layer("application/vnd.docker.ai.model.config.v0.1+json", 9, json!({}));
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
        let found = Layers::from_manifest(&serde_json::from_value(manifest).unwrap());
        assert_eq!(paths_of(&found), ["manifest/config.json"]);
    }

    #[test]
    fn paths_that_clash() {
        let raw = "application/vnd.cncf.model.weight.v1.raw";
        let at = |byte, path: &str| layer(raw, byte, json!({"org.cncf.model.filepath": path}));
        let found = layers(&[at(3, "a"), at(4, "a"), at(3, "a"), at(4, "a")]);
        assert_eq!(found.problems.len(), 2, "{:?}", found.problems);
        let nameless = format!("blobs/sha256-{}", "04".repeat(32));
        assert_eq!(paths_of(&found), ["a", &nameless]);
    }

    #[test]
    fn unsupported_digests_are_reported() {
        let digest = format!("sha512:{}", "0".repeat(128));
        let found = layers(&[json!({"mediaType": "a/b", "digest": digest, "size": 1})]);
        assert_eq!(found.problems.len(), 1);
        assert!(found.layers[0].listed().digests.is_empty());
    }

    proptest! {
        /// The paths of a listing are unique for every manifest.
        #[test]
        fn paths_are_unique(named in prop::collection::vec((any::<u8>(), "[a./]{0,6}", prop::bool::ANY), 0..8)) {
            let values: Vec<Value> = named
                .iter()
                .map(|(byte, path, packed)| {
                    let packing = if *packed { "tar" } else { "raw" };
                    let media_type = format!("application/vnd.cncf.model.weight.v1.{packing}");
                    layer(&media_type, *byte, json!({"org.cncf.model.filepath": path}))
                })
                .collect();
            let found = layers(&values);
            let unique: HashSet<&str> = paths_of(&found).into_iter().collect();
            prop_assert_eq!(unique.len(), found.layers.len());
        }
    }
}
