//! The model root: one digest for the content of a model, whatever files it lies in.

use tensorseal_base::dtype::Dtype;
use tensorseal_format::strides;

/// Domain of the root: BLAKE3 `derive_key` with a context of its own, so that no file and no tensor
/// has the root of a model as its digest.
const CONTEXT: &str = "tensorseal 2026-11-23 model root v1";

/// What strides are preceded by.
const STRIDES: &[u8] = b"strides";

/// What the root is computed over, for each tensor.
#[derive(Debug, Clone, Copy)]
pub struct RootEntry<'a> {
    /// Name of the tensor.
    pub name: &'a str,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, as a loader has them.
    pub shape: &'a [u64],
    /// Of elements that do not lie row-major: see [`tensorseal_format::strides`].
    pub strides: Option<&'a [u64]>,
    /// Plain BLAKE3 of its bytes.
    pub digest: &'a [u8; 32],
}

impl RootEntry<'_> {
    /// How many elements its bytes hold.
    pub fn stored_elements(&self) -> u64 {
        strides::stored_element_count(self.shape, self.strides).unwrap_or(u64::MAX)
    }
}

/// The model root over `entries`, which must be in byte order of their names.
///
/// For each tensor: name, dtype name, number of dimensions and dimensions, where there are strides a tag and
/// the strides, digest; every part of variable length is preceded by its length, and all numbers are u64
/// little-endian (`docs/formats.md`, golden vectors in `testdata/root/`). The tag is shorter than a digest:
/// what follows the dimensions tells which of both it is.
pub fn model_root<'a>(entries: impl IntoIterator<Item = RootEntry<'a>>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    let part = |hasher: &mut blake3::Hasher, bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for entry in entries {
        part(&mut hasher, entry.name.as_bytes());
        part(&mut hasher, entry.dtype.name().as_bytes());
        hasher.update(&(entry.shape.len() as u64).to_le_bytes());
        for dimension in entry.shape {
            hasher.update(&dimension.to_le_bytes());
        }
        if let Some(strides) = entry.strides {
            part(&mut hasher, STRIDES);
            for stride in strides {
                hasher.update(&stride.to_le_bytes());
            }
        }
        part(&mut hasher, entry.digest);
    }
    *hasher.finalize().as_bytes()
}
