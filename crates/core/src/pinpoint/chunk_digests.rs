//! The fine sidecar of a seal: the chaining value of every chunk (1 KiB) of every tensor.
//!
//! Layout (`docs/formats.md`): a head of 72 bytes, then 32 bytes a chunk, tensors in the order of the
//! seal. Tensors of one chunk have no values here: their digest is all there is to know. Nobody
//! vouches for the file; the values of a block count only if they merge to the sealed value of that
//! block.

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

/// Bytes before the first value.
pub const HEAD_LEN: usize = 72;

/// Length of a value in bytes.
pub const VALUE_LEN: u64 = 32;

/// Name of the sidecar inside a model directory.
pub const FILE_NAME: &str = "tensorseal.seal.fine";

/// A sidecar cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChunkDigestError {
    /// It could not be read.
    #[error("cannot be read: {0}")]
    Read(#[from] ReadError),
    /// Another kind of file.
    #[error("is no fine sidecar of a seal")]
    NotChunkDigests,
    /// A later version, or another granularity.
    #[error(
        "version {version} with chunks of {chunk} bytes: written by another version of tensorseal"
    )]
    Version {
        /// Of the format.
        version: u32,
        /// Length of a chunk.
        chunk: u32,
    },
    /// It belongs to another seal.
    #[error("belongs to another seal: to the model root blake3:{0}")]
    OtherSeal(String),
    /// Its numbers are not those of the seal.
    #[error("{what} is {found}, and would be {expected} for this seal")]
    Inconsistent {
        /// Which number.
        what: &'static str,
        /// What it is.
        found: u64,
        /// What it should be.
        expected: u64,
    },
    /// Values that are not those of the sealed bytes.
    #[error("the values of tensor {tensor:?} at byte {offset} do not merge to the sealed block")]
    ValuesMismatch {
        /// Name of the tensor.
        tensor: String,
        /// Where the block begins in it.
        offset: u64,
    },
}

/// Where the sidecar of a seal is: beside it, `.fine` in place of `.json`.
pub fn path_of(seal: &Path) -> PathBuf {
    if seal.extension().is_some_and(|extension| extension == "json") {
        return seal.with_extension("fine");
    }
    let mut name = seal.as_os_str().to_owned();
    name.push(".fine");
    PathBuf::from(name)
}

/// Whether a regular file that begins like a sidecar is at `path`.
pub fn is_sidecar(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    // Only a regular file is opened: anything else could hang.
    path.is_file()
        && open_for_reading(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok())
        && start == *MAGIC
}

/// Values that the sidecar has of a tensor.
pub(super) fn value_count(tensor: &TensorSeal) -> u64 {
    let chunks = tensor.bytes.div_ceil(CHUNK_LEN as u64);
    if chunks > 1 { chunks } else { 0 }
}

/// The head of the sidecar of a seal.
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

/// By tensor, where its values begin in the file.
pub(super) fn starts(seal: &Seal) -> Vec<u64> {
    let mut position = HEAD_LEN as u64;
    let next = |tensor| {
        let start = position;
        position += VALUE_LEN * value_count(tensor);
        start
    };
    seal.tensors.iter().map(next).collect()
}

/// An opened sidecar.
pub struct ChunkDigests<'a> {
    seal: &'a Seal,
    source: Box<dyn ByteSource>,
    starts: Vec<u64>,
}

impl<'a> ChunkDigests<'a> {
    /// Opens the sidecar of `seal`; `None` when nothing is at `path`.
    ///
    /// # Errors
    /// See [`ChunkDigestError`].
    pub fn open(path: &Path, seal: &'a Seal) -> Result<Option<ChunkDigests<'a>>, ChunkDigestError> {
        let failed = |error| ChunkDigestError::Read(ReadError::Io(error));
        // Non-blocking: opening a FIFO must not hang.
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

    /// The sidecar of `seal` in these `bytes` bytes.
    ///
    /// # Errors
    /// See [`ChunkDigestError`].
    pub fn from_source(
        source: Box<dyn ByteSource>,
        bytes: u64,
        seal: &'a Seal,
    ) -> Result<ChunkDigests<'a>, ChunkDigestError> {
        if bytes < HEAD_LEN as u64 {
            return Err(ChunkDigestError::NotChunkDigests);
        }
        let mut found = Vec::with_capacity(HEAD_LEN);
        source.read(0, HEAD_LEN, &mut |part| found.extend_from_slice(part))?;
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| found[at + i]));
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| found[at + i]));
        if found[..16] != *MAGIC {
            return Err(ChunkDigestError::NotChunkDigests);
        }
        let (version, chunk) = (word(16), word(20));
        if (version, chunk) != (VERSION, CHUNK_LEN as u32) {
            return Err(ChunkDigestError::Version { version, chunk });
        }
        let root: ChainingValue = std::array::from_fn(|i| found[24 + i]);
        if root != seal.root() {
            return Err(ChunkDigestError::OtherSeal(tensorseal_base::hex::hex(&root)));
        }
        let values: u64 = seal.tensors.iter().map(value_count).sum();
        for (what, found, expected) in [
            ("its number of tensors", long(56), seal.tensors.len() as u64),
            ("its number of values", long(64), values),
            ("its length in bytes", bytes, HEAD_LEN as u64 + VALUE_LEN * values),
        ] {
            if found != expected {
                return Err(ChunkDigestError::Inconsistent { what, found, expected });
            }
        }
        Ok(ChunkDigests { seal, source, starts: starts(seal) })
    }

    /// The values of the block (1 MiB) that begins `offset` bytes into the tensor of this index; none
    /// of a tensor of one chunk. They are not checked yet.
    ///
    /// # Errors
    /// When they cannot be read.
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

    /// The error of values of a block that do not merge to what was sealed.
    pub(super) fn mismatch(&self, tensor: usize, offset: u64) -> ChunkDigestError {
        let tensor = self.seal.tensors.get(tensor).map(|tensor| tensor.name.clone());
        ChunkDigestError::ValuesMismatch { tensor: tensor.unwrap_or_default(), offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sidecar_lies_beside_its_seal() {
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
