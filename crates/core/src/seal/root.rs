//! The model root: one digest for the content of a model, independent of its files.

use tensorseal_base::dtype::Dtype;
use tensorseal_format::strides;

/// The BLAKE3 `derive_key` context of the root. It separates domains, so that no file and no tensor has the root of a
/// model as its digest.
const CONTEXT: &str = "tensorseal 2026-11-23 model root v1";

/// The tag that precedes strides.
const STRIDES: &[u8] = b"strides";

/// The parts of a tensor that the root is computed over.
#[derive(Debug, Clone, Copy)]
pub struct RootEntry<'a> {
    /// The name of the tensor.
    pub name: &'a str,
    /// The element type.
    pub dtype: Dtype,
    /// The dimensions, as a loader sees them.
    pub shape: &'a [u64],
    /// The strides in elements, if the elements are not stored row-major: see [`tensorseal_format::strides`].
    pub strides: Option<&'a [u64]>,
    /// The plain BLAKE3 digest of the bytes.
    pub digest: &'a [u8; 32],
}

impl RootEntry<'_> {
    /// Returns the number of elements that the bytes hold.
    pub fn stored_elements(&self) -> u64 {
        strides::stored_element_count(self.shape, self.strides).unwrap_or(u64::MAX)
    }
}

/// Computes the model root over `entries`, which must be in byte order of their names.
///
/// The root covers, for each tensor, the name, the name of the dtype, the number of dimensions and the dimensions, a tag
/// and the strides if there are any, and the digest. Every part of variable length is preceded by its length, and all
/// numbers are u64 little-endian (`docs/formats.md`, golden vectors in `testdata/root/`). The tag is shorter than a
/// digest, so the length after the dimensions tells which of the two follows.
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
