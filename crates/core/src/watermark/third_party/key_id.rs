//! Computes the id of a key: a digest of the values of its parts, independent of the names of its files.

use super::arrays::Array;
use tensorseal_base::hex::hex;

/// Hashes the values of a key, each preceded by its length.
pub(super) struct KeyIdHasher(blake3::Hasher);

impl KeyIdHasher {
    /// Creates a hasher with a context string.
    pub(super) fn new(context: &'static str) -> Self {
        Self(blake3::Hasher::new_derive_key(context))
    }

    /// Adds bytes, preceded by their number.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds a name.
    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Adds a number.
    pub(super) fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// Adds the type, the shape and the digest of an array.
    pub(super) fn array(&mut self, array: &Array) {
        self.text(array.tensor.dtype.name());
        self.number(array.tensor.shape.len() as u64);
        array.tensor.shape.iter().for_each(|dimension| self.number(*dimension));
        self.bytes(&array.digest);
    }

    /// Returns the digest in hexadecimal.
    pub(super) fn hex(&self) -> String {
        hex(self.0.finalize().as_bytes())
    }
}
