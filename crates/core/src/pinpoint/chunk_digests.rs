//! Reads chunk digests, a sidecar of a seal with the chaining value of every chunk (1 KiB) of every tensor.
//!
//! The layout (`docs/formats.md`) is a header of 72 bytes, followed by 32 bytes per chunk, with tensors in the order of
//! the seal. Tensors of a single chunk have no values, since their digest covers it. The file is not trusted: the values
//! of a block are used only if they merge to the sealed value of that block.

use super::CHUNK_LEN;
use crate::seal::{Seal, TensorSeal};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tensorseal_base::system::open_for_reading;
use tensorseal_engine::measure::BLOCK_LEN;
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::source::{ByteSource, ReadError, ReadSource};

/// The first bytes of the file.
pub const MAGIC: &[u8; 16] = b"tensorseal.fine\n";

/// The version that this program reads and writes.
pub const VERSION: u32 = 1;

/// The length of the header in bytes.
pub const HEAD_LEN: usize = 72;

/// The length of a value in bytes.
pub const VALUE_LEN: u64 = 32;

/// The name of the sidecar in a model directory.
pub const FILE_NAME: &str = "tensorseal.seal.fine";

/// An error in chunk digests that prevents their use.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ChunkDigestError {
    /// The file could not be read.
    #[error("cannot be read: {0}")]
    Read(#[from] ReadError),
    /// The file does not hold chunk digests.
    #[error("not a chunk-digest file")]
    NotChunkDigests,
    /// The file has another version or another chunk length.
    #[error(
        "version {version} with chunks of {chunk} bytes was written by another version of tensorseal"
    )]
    Version {
        /// The version of the format.
        version: u32,
        /// The length of a chunk in bytes.
        chunk: u32,
    },
    /// The file belongs to another seal, with this model root in hexadecimal.
    #[error("the file belongs to another seal, with the model root blake3:{0}")]
    OtherSeal(String),
    /// A number in the file contradicts the seal.
    #[error("{what} is {found}; the seal requires {expected}")]
    Inconsistent {
        /// What the number counts.
        what: &'static str,
        /// The number in the file.
        found: u64,
        /// The number that the seal implies.
        expected: u64,
    },
    /// The values of a block are not those of the sealed bytes.
    #[error("the values of tensor {tensor:?} at byte {offset} do not merge to the sealed block")]
    ValuesMismatch {
        /// The name of the tensor.
        tensor: String,
        /// The position of the block in the tensor, in bytes.
        offset: u64,
    },
}

/// Returns the path of the chunk digests of a seal: that of the seal with `.fine` in place of `.json`.
pub fn path_of(seal: &Path) -> PathBuf {
    if seal.extension().is_some_and(|extension| extension == "json") {
        return seal.with_extension("fine");
    }
    let mut name = seal.as_os_str().to_owned();
    name.push(".fine");
    PathBuf::from(name)
}

/// Returns whether `path` is a regular file that starts like chunk digests.
pub fn is_sidecar(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    // Only regular files are opened, since reading anything else could hang.
    path.is_file()
        && open_for_reading(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok())
        && start == *MAGIC
}

/// Returns the number of values of a tensor.
pub(super) fn value_count(tensor: &TensorSeal) -> u64 {
    let chunks = tensor.bytes.div_ceil(CHUNK_LEN as u64);
    if chunks > 1 { chunks } else { 0 }
}

/// Returns the header for the chunk digests of a seal.
pub(super) fn head(seal: &Seal) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[..16].copy_from_slice(MAGIC);
    head[16..20].copy_from_slice(&VERSION.to_le_bytes());
    head[20..24].copy_from_slice(&(CHUNK_LEN as u32).to_le_bytes());
    head[24..56].copy_from_slice(&seal.root());
    head[56..64].copy_from_slice(&(seal.tensors.len() as u64).to_le_bytes());
    head[64..72].copy_from_slice(&seal.tensors.iter().map(value_count).sum::<u64>().to_le_bytes());
    head
}

/// Returns the position in the file where the values of each tensor start.
pub(super) fn starts(seal: &Seal) -> Vec<u64> {
    let mut position = HEAD_LEN as u64;
    let next = |tensor| {
        let start = position;
        position += VALUE_LEN * value_count(tensor);
        start
    };
    seal.tensors.iter().map(next).collect()
}

/// Opened chunk digests of a seal.
pub struct ChunkDigests<'a> {
    seal: &'a Seal,
    source: Box<dyn ByteSource>,
    starts: Vec<u64>,
}

impl<'a> ChunkDigests<'a> {
    /// Opens the chunk digests of `seal` at `path`, or returns `None` if the file does not exist.
    ///
    /// # Errors
    /// Returns a [`ChunkDigestError`] if the file cannot be read, is not a regular file, does not hold chunk digests or does
    /// not belong to `seal`.
    pub fn open(path: &Path, seal: &'a Seal) -> Result<Option<ChunkDigests<'a>>, ChunkDigestError> {
        let failed = |error| ChunkDigestError::Read(ReadError::Io(error));
        // The open is non-blocking, because opening a FIFO must not hang.
        let file = match open_for_reading(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        let source = Box::new(ReadSource::new(file));
        ChunkDigests::from_source(source, metadata.len(), seal).map(Some)
    }

    /// Opens the chunk digests of `seal` in a source of `bytes` bytes.
    ///
    /// # Errors
    /// Returns a [`ChunkDigestError`] if the source cannot be read, does not hold chunk digests or does not belong to `seal`.
    pub fn from_source(
        source: Box<dyn ByteSource>,
        bytes: u64,
        seal: &'a Seal,
    ) -> Result<ChunkDigests<'a>, ChunkDigestError> {
        if bytes < HEAD_LEN as u64 {
            return Err(ChunkDigestError::NotChunkDigests);
        }
        let mut header = Vec::with_capacity(HEAD_LEN);
        source.read(0, HEAD_LEN, &mut |part| header.extend_from_slice(part))?;
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        if header[..16] != *MAGIC {
            return Err(ChunkDigestError::NotChunkDigests);
        }
        let (version, chunk) = (u32_at(16), u32_at(20));
        if (version, chunk) != (VERSION, CHUNK_LEN as u32) {
            return Err(ChunkDigestError::Version { version, chunk });
        }
        let root: ChainingValue = std::array::from_fn(|i| header[24 + i]);
        if root != seal.root() {
            return Err(ChunkDigestError::OtherSeal(tensorseal_base::hex::hex(&root)));
        }
        let values: u64 = seal.tensors.iter().map(value_count).sum();
        for (what, found, expected) in [
            ("the number of tensors", u64_at(56), seal.tensors.len() as u64),
            ("the number of values", u64_at(64), values),
            ("the length in bytes", bytes, HEAD_LEN as u64 + VALUE_LEN * values),
        ] {
            if found != expected {
                return Err(ChunkDigestError::Inconsistent { what, found, expected });
            }
        }
        Ok(ChunkDigests { seal, source, starts: starts(seal) })
    }

    /// Returns the values of the block (1 MiB) that begins `offset` bytes into the tensor with this index, or an empty list
    /// for a tensor of a single chunk. The values are not verified yet.
    ///
    /// # Errors
    /// Returns [`ChunkDigestError::Read`] if the values cannot be read.
    pub fn values(
        &self,
        tensor: usize,
        offset: u64,
    ) -> Result<Vec<ChainingValue>, ChunkDigestError> {
        let Some(sealed) = self.seal.tensors.get(tensor) else { return Ok(Vec::new()) };
        let first = offset / CHUNK_LEN as u64;
        let count = value_count(sealed).saturating_sub(first).min((BLOCK_LEN / CHUNK_LEN) as u64);
        let len = (VALUE_LEN * count) as usize;
        let mut bytes = Vec::with_capacity(len);
        let position = self.starts[tensor] + VALUE_LEN * first;
        self.source.read(position, len, &mut |part| bytes.extend_from_slice(part))?;
        Ok(bytes.as_chunks::<32>().0.to_vec())
    }

    /// Returns the error for a block whose values do not merge to its sealed value.
    pub(super) fn mismatch(&self, tensor: usize, offset: u64) -> ChunkDigestError {
        let tensor = self.seal.tensors.get(tensor).map(|tensor| tensor.name.clone());
        ChunkDigestError::ValuesMismatch { tensor: tensor.unwrap_or_default(), offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sidecar_lies_next_to_its_seal() {
        for (seal, fine) in [
            ("m/tensorseal.seal.json", "m/tensorseal.seal.fine"),
            ("model.safetensors.seal.json", "model.safetensors.seal.fine"),
            ("a.b/seal", "a.b/seal.fine"),
        ] {
            assert_eq!(path_of(Path::new(seal)), Path::new(fine));
        }
        assert_eq!(path_of(Path::new(crate::seal::FILE_NAME)), Path::new(FILE_NAME));
    }
}
