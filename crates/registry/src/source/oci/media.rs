//! Interprets the media types of layers: how a layer is packed, and the default name of its file.
//!
//! - ModelPack (CNCF model-spec): `application/vnd.cncf.model.*.v1.{raw,tar,tar+gzip,tar+zstd}`, formerly
//!   `application/vnd.cnai.model.*`.
//! - KitOps: `application/vnd.kitops.modelkit.*.v1.{raw,tar}[+gzip|+zstd]`.
//! - Docker: `application/vnd.docker.ai.*`. Each layer is a file, except for two kinds of archives.
//! - ORAS: any type. An annotation marks a packed directory.
//! - Ollama: `application/vnd.ollama.image.*`. Each layer is a file without a name.

use std::collections::HashMap;

/// The annotations with the path of the file, the most specific first.
const PATHS: [&str; 3] =
    ["org.cncf.model.filepath", "org.cnai.model.filepath", "org.opencontainers.image.title"];

/// The annotation of ORAS that marks a packed directory.
const UNPACK: &str = "io.deis.oras.content.unpack";

/// The prefixes of media types whose suffix states the packing of the layer.
const PACKED_FAMILIES: [&str; 4] = [
    "application/vnd.cncf.model.",
    "application/vnd.cnai.model.",
    "application/vnd.kitops.modelkit.",
    "application/vnd.docker.ai.",
];

/// The default names of files: prefix of the media type, stem and extension.
const NAMES: [(&str, &str, &str); 12] = [
    ("application/vnd.docker.ai.gguf.", "model", ".gguf"),
    ("application/vnd.docker.ai.safetensors", "model", ".safetensors"),
    ("application/vnd.docker.ai.dduf", "model", ".dduf"),
    ("application/vnd.docker.ai.mmproj", "mmproj", ".gguf"),
    ("application/vnd.docker.ai.license", "LICENSE", ""),
    ("application/vnd.docker.ai.chat.template.jinja", "chat_template", ".jinja"),
    ("application/vnd.ollama.image.model", "model", ".gguf"),
    ("application/vnd.ollama.image.projector", "projector", ".gguf"),
    ("application/vnd.ollama.image.adapter", "adapter", ".gguf"),
    ("application/vnd.ollama.image.license", "LICENSE", ""),
    ("application/vnd.ollama.image.template", "template", ""),
    ("application/vnd.ollama.image.params", "params", ".json"),
];

/// The packing of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LayerPacking {
    /// Whether the layer is a tar archive of files. Otherwise it is one file.
    pub archive: bool,
    /// The compression of the layer.
    pub compression: Option<Compression>,
}

/// A compression format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// Gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl LayerPacking {
    /// Returns the packing of a layer. Layers of unknown types are unpacked files.
    pub(super) fn from_media_type(media_type: &str, annotations: &HashMap<String, String>) -> Self {
        let by_type = PACKED_FAMILIES.iter().any(|family| media_type.starts_with(family));
        let by_annotation = annotations.get(UNPACK).is_some_and(|value| value == "true");
        if !by_type && !by_annotation {
            return Self::default();
        }
        let (rest, compression) = match media_type.rsplit_once(['+', '.']) {
            Some((rest, "gzip")) => (rest, Some(Compression::Gzip)),
            Some((rest, "zstd")) => (rest, Some(Compression::Zstd)),
            _ => (media_type, None),
        };
        Self { archive: rest.ends_with(".tar"), compression }
    }

    /// Returns whether the bytes of the layer are those of a file.
    pub(super) fn is_raw(self) -> bool {
        self == Self::default()
    }

    /// Returns the file extension of a layer with this packing.
    pub(super) fn extension(self) -> &'static str {
        match (self.archive, self.compression) {
            (false, None) => "",
            (false, Some(Compression::Gzip)) => ".gz",
            (false, Some(Compression::Zstd)) => ".zst",
            (true, None) => ".tar",
            (true, Some(Compression::Gzip)) => ".tar.gz",
            (true, Some(Compression::Zstd)) => ".tar.zst",
        }
    }
}

/// Returns the path of the file of a layer in its annotations.
pub(super) fn annotated_path(annotations: &HashMap<String, String>) -> Option<&str> {
    PATHS.iter().find_map(|key| annotations.get(*key)).map(String::as_str)
}

/// Returns the stem and extension of the default name for a media type.
pub(super) fn default_name(media_type: &str) -> Option<(&'static str, &'static str)> {
    let known = NAMES.iter().find(|(prefix, ..)| media_type.starts_with(prefix));
    known.map(|(_, stem, extension)| (*stem, *extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packing(media_type: &str) -> (bool, Option<Compression>) {
        let LayerPacking { archive, compression } =
            LayerPacking::from_media_type(media_type, &HashMap::new());
        (archive, compression)
    }

    #[test]
    fn packings_of_media_types() {
        let (gzip, zstd) = (Some(Compression::Gzip), Some(Compression::Zstd));
        for (media_type, expected) in [
            ("application/vnd.cncf.model.weight.v1.raw", (false, None)),
            ("application/vnd.cncf.model.weight.v1.tar", (true, None)),
            ("application/vnd.cncf.model.weight.config.v1.tar+gzip", (true, gzip)),
            ("application/vnd.cncf.model.doc.v1.tar+zstd", (true, zstd)),
            ("application/vnd.cnai.model.weight.v1.tar", (true, None)),
            ("application/vnd.kitops.modelkit.model.v1.tar+gzip", (true, gzip)),
            ("application/vnd.kitops.modelkit.modelpart.v1.tar", (true, None)),
            ("application/vnd.kitops.modelkit.model.v1.raw", (false, None)),
            ("application/vnd.kitops.modelkit.model.v1.raw+zstd", (false, zstd)),
            ("application/vnd.kitops.modelkit.config.v1+json", (false, None)),
            ("application/vnd.docker.ai.gguf.v3", (false, None)),
            ("application/vnd.docker.ai.vllm.config.tar", (true, None)),
            ("application/vnd.docker.ai.dir.tar", (true, None)),
            ("application/vnd.docker.ai.license", (false, None)),
            // The packing of unknown types is ignored.
            ("application/vnd.oci.image.layer.v1.tar+gzip", (false, None)),
            ("application/octet-stream", (false, None)),
            ("", (false, None)),
        ] {
            assert_eq!(packing(media_type), expected, "{media_type}");
        }
    }

    #[test]
    fn a_directory_of_oras_is_unpacked() {
        let annotations = HashMap::from([(UNPACK.to_owned(), "true".to_owned())]);
        for media_type in [
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ] {
            let packing = LayerPacking::from_media_type(media_type, &annotations);
            assert_eq!(
                packing,
                LayerPacking { archive: true, compression: Some(Compression::Gzip) }
            );
            assert_eq!(packing.extension(), ".tar.gz");
        }
    }

    #[test]
    fn the_more_specific_path_counts() {
        let both = HashMap::from([
            ("org.opencontainers.image.title".to_owned(), "title".to_owned()),
            ("org.cncf.model.filepath".to_owned(), "a/path".to_owned()),
        ]);
        assert_eq!(annotated_path(&both), Some("a/path"));
        assert_eq!(annotated_path(&HashMap::new()), None);
    }
}
