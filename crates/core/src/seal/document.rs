//! The fields of a seal. They are declared in alphabetical order, which is the order they are
//! written in.

use super::canonical;
use super::distribution::Distribution;
use super::root::{RootEntry, model_root};
use super::sketch::WeightSketch;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeSet;
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_format::{shard_index, strides};

/// A seal, `tensorseal.seal/1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Every file of the model, in byte order of the paths.
    pub files: Vec<FileSeal>,
    /// Paths that lead into a directory of the model, in byte order of the paths. Few models have any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkSeal>,
    /// The model as a whole.
    pub model: ModelSeal,
    /// [`super::SCHEMA`].
    pub schema: String,
    /// Every tensor, in byte order of the names.
    pub tensors: Vec<TensorSeal>,
}

/// Totals and identity of a sealed model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSeal {
    /// Bytes of all files.
    pub bytes: u64,
    /// Elements of all tensors.
    pub elements: u64,
    /// Number of files.
    pub files: u64,
    /// Container format.
    pub format: String,
    /// `blake3:` and the model root in hexadecimal.
    pub root: String,
    /// Number of tensors.
    pub tensors: u64,
}

/// A sealed file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSeal {
    /// BLAKE3 of the whole file: always for files without tensors, on request for the others.
    #[serde(default, with = "canonical::optional_digest", skip_serializing_if = "Option::is_none")]
    pub blake3: Option<ChainingValue>,
    /// Length in bytes.
    pub bytes: u64,
    /// For files that hold tensors: what covers the bytes outside them, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Vec<GapSeal>>,
    /// Path relative to the model, components separated by `/`.
    pub path: String,
    /// SHA-256 of the whole file, on request.
    #[serde(default, with = "canonical::optional_digest", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<ChainingValue>,
}

/// A sealed link to a directory: its files are sealed under the path that it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSeal {
    /// Path relative to the model.
    pub path: String,
    /// The directory that it leads to, relative to the model; `.` for the model itself.
    pub target: String,
}

/// A stretch of a file that no tensor covers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GapSeal {
    /// BLAKE3 of its bytes.
    #[serde(with = "canonical::digest")]
    pub blake3: ChainingValue,
    /// First byte in the file and one past the last.
    pub range: [u64; 2],
}

/// A sealed tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSeal {
    /// Plain BLAKE3 of its bytes.
    #[serde(with = "canonical::digest")]
    pub blake3: ChainingValue,
    /// Chaining value of every 1 MiB; empty for tensors of at most that.
    #[serde(default, with = "canonical::blocks", skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<ChainingValue>,
    /// Length in bytes.
    pub bytes: u64,
    /// Statistics of its values, unless only digests were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// Element type.
    #[serde(serialize_with = "dtype_name", deserialize_with = "named_dtype")]
    pub dtype: Dtype,
    /// Path of its file.
    pub file: String,
    /// Name.
    pub name: String,
    /// Position of its first byte in the file.
    pub offset: u64,
    /// Dimensions, as a loader has them.
    pub shape: Vec<u64>,
    /// Signed sums of its weights, on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch: Option<WeightSketch>,
    /// Elements from one index to the next, by dimension, where they do not lie row-major: see
    /// [`tensorseal_format::strides`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strides: Option<Vec<u64>>,
}

fn dtype_name<S: Serializer>(dtype: &Dtype, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.name())
}

fn named_dtype<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Dtype, D::Error> {
    let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
    name.parse().map_err(serde::de::Error::custom)
}

impl Seal {
    /// The model root over the sealed tensors.
    pub fn root(&self) -> ChainingValue {
        model_root(self.tensors.iter().map(TensorSeal::root_entry))
    }

    /// The files that say what the tensors of the model are called: those that held tensors, and indexes. A
    /// file that was sealed as bytes has no say, whatever is read from it today.
    pub fn naming_files(&self) -> BTreeSet<String> {
        let names =
            |file: &&FileSeal| file.outside.is_some() || shard_index::is_index_name(&file.path);
        self.files.iter().filter(names).map(|file| file.path.clone()).collect()
    }

    /// The model root as versions made it that did not record the order of elements; `None`: that is the
    /// one there is, as all elements lie row-major.
    pub fn root_without_order(&self) -> Option<ChainingValue> {
        self.tensors.iter().find(|tensor| tensor.strides.is_some())?;
        let shapes: Vec<Cow<'_, [u64]>> =
            self.tensors.iter().map(TensorSeal::storage_shape).collect();
        let entries = self.tensors.iter().zip(&shapes);
        Some(model_root(entries.map(|(tensor, shape)| RootEntry {
            shape,
            strides: None,
            ..tensor.root_entry()
        })))
    }

    /// The sealed file of this path.
    pub fn file(&self, path: &str) -> Option<&FileSeal> {
        let index = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        self.files.get(index)
    }
}

impl TensorSeal {
    /// What of it goes into the model root.
    pub fn root_entry(&self) -> RootEntry<'_> {
        RootEntry {
            name: &self.name,
            dtype: self.dtype,
            shape: &self.shape,
            strides: self.strides.as_deref(),
            digest: &self.blake3,
        }
    }

    /// Its dimensions in the order of the file: see [`strides::storage_shape`].
    pub fn storage_shape(&self) -> Cow<'_, [u64]> {
        strides::storage_shape(&self.shape, self.strides.as_deref())
    }

    /// Whether its elements lie as those of another do: dimensions and strides.
    pub fn is_laid_out_as(&self, other: &TensorSeal) -> bool {
        (&self.shape, &self.strides) == (&other.shape, &other.strides)
    }

    /// Whether another, which was found, lies as this one was sealed by a version that did not record the
    /// order of elements: dimensions in the order of the file stood for it.
    pub fn is_outdated_for(&self, found: &TensorSeal) -> bool {
        let sizes = |shape: &[u64]| -> Vec<u64> {
            shape.iter().copied().filter(|size| *size != 1).collect()
        };
        self.strides.is_none()
            && found.strides.is_some()
            && self.bytes == found.bytes
            && sizes(&self.shape) == sizes(&found.storage_shape())
    }
}

/// A model root as it is written: `blake3:` and 64 digits.
pub fn root_text(root: &ChainingValue) -> String {
    format!("blake3:{}", canonical::hex(root))
}
