//! The structs of a seal. Fields are declared in alphabetical order, which is the order in which they are written.

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
    /// All model files, in byte order of the paths.
    pub files: Vec<FileSeal>,
    /// Links to directories of the model, in byte order of the paths. Few models have any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkSeal>,
    /// The totals and the root of the model.
    pub model: ModelSeal,
    /// The schema name, [`super::SCHEMA`].
    pub schema: String,
    /// All tensors, in byte order of the names.
    pub tensors: Vec<TensorSeal>,
}

/// The totals and the root of a sealed model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSeal {
    /// The size of all files in bytes.
    pub bytes: u64,
    /// The number of elements of all tensors.
    pub elements: u64,
    /// The number of files.
    pub files: u64,
    /// The container format.
    pub format: String,
    /// `blake3:` and the model root in hexadecimal.
    pub root: String,
    /// The number of tensors.
    pub tensors: u64,
}

/// A sealed file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSeal {
    /// The BLAKE3 digest of the whole file: always for files without tensors, on request for others.
    #[serde(default, with = "canonical::optional_digest", skip_serializing_if = "Option::is_none")]
    pub blake3: Option<ChainingValue>,
    /// The length in bytes.
    pub bytes: u64,
    /// The gaps of a file that holds tensors, in order; `None` for files without tensors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Vec<GapSeal>>,
    /// The path relative to the model, with components separated by `/`.
    pub path: String,
    /// The SHA-256 digest of the whole file, on request.
    #[serde(default, with = "canonical::optional_digest", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<ChainingValue>,
}

/// A sealed link to a directory. The files of the directory are sealed under its own path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSeal {
    /// The path relative to the model.
    pub path: String,
    /// The directory that the link leads to, relative to the model; `.` for the model itself.
    pub target: String,
}

/// A sealed gap: bytes of a file that no tensor covers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GapSeal {
    /// The BLAKE3 digest of the bytes.
    #[serde(with = "canonical::digest")]
    pub blake3: ChainingValue,
    /// The half-open byte range in the file.
    pub range: [u64; 2],
}

/// A sealed tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSeal {
    /// The plain BLAKE3 digest of the bytes.
    #[serde(with = "canonical::digest")]
    pub blake3: ChainingValue,
    /// The chaining value of every block of 1 MiB; empty for tensors of at most one block.
    #[serde(default, with = "canonical::blocks", skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<ChainingValue>,
    /// The length in bytes.
    pub bytes: u64,
    /// Statistics of the values, unless only digests were requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// The element type.
    #[serde(serialize_with = "dtype_name", deserialize_with = "named_dtype")]
    pub dtype: Dtype,
    /// The path of the file that holds the tensor.
    pub file: String,
    /// The name of the tensor.
    pub name: String,
    /// The position of the first byte in the file.
    pub offset: u64,
    /// The dimensions, as a loader sees them.
    pub shape: Vec<u64>,
    /// Signed sums of the values, on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch: Option<WeightSketch>,
    /// The strides of each dimension in elements, if the elements are not stored row-major: see
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
    /// Computes the model root over the sealed tensors.
    pub fn root(&self) -> ChainingValue {
        model_root(self.tensors.iter().map(TensorSeal::root_entry))
    }

    /// Returns the files that define the names of the tensors: those that held tensors when they were sealed, and shard
    /// indexes. A file that was sealed as bytes is not among them, even if tensors can be read from it now.
    pub fn naming_files(&self) -> BTreeSet<String> {
        let names =
            |file: &&FileSeal| file.outside.is_some() || shard_index::is_index_name(&file.path);
        self.files.iter().filter(names).map(|file| file.path.clone()).collect()
    }

    /// Computes the model root as earlier versions did, which did not record strides. Returns `None` if all tensors are
    /// row-major, so that both roots are the same.
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

    /// Returns the sealed file with this path.
    pub fn file(&self, path: &str) -> Option<&FileSeal> {
        let index = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        self.files.get(index)
    }
}

impl TensorSeal {
    /// Returns the part of the tensor that goes into the model root.
    pub fn root_entry(&self) -> RootEntry<'_> {
        RootEntry {
            name: &self.name,
            dtype: self.dtype,
            shape: &self.shape,
            strides: self.strides.as_deref(),
            digest: &self.blake3,
        }
    }

    /// Returns the dimensions in the order of storage: see [`strides::storage_shape`].
    pub fn storage_shape(&self) -> Cow<'_, [u64]> {
        strides::storage_shape(&self.shape, self.strides.as_deref())
    }

    /// Returns whether the tensor has the dimensions and strides of `other`.
    pub fn is_laid_out_as(&self, other: &TensorSeal) -> bool {
        (&self.shape, &self.strides) == (&other.shape, &other.strides)
    }

    /// Returns whether `found` has the layout of this tensor, given that an earlier version sealed it. Earlier versions
    /// recorded dimensions in the order of storage and no strides.
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

/// Formats a model root: `blake3:` and 64 hexadecimal digits.
pub fn root_text(root: &ChainingValue) -> String {
    format!("blake3:{}", canonical::hex(root))
}
