//! Seals and marks as they are kept: JSON, compressed.

use crate::source::ChangeToken;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};
use std::io::{self, BufReader, Write};
use tensorseal_core::seal::{Seal, canonical, read};

/// The mark of a file, by its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChangeToken {
    /// Path in the model.
    pub path: String,
    /// What moves when it is written.
    pub mark: ChangeToken,
}

/// Packs a seal.
pub(super) fn pack_seal(seal: &Seal) -> io::Result<Vec<u8>> {
    let mut out = ZlibEncoder::new(Vec::new(), Compression::fast());
    canonical::write(seal, &mut out)?;
    out.finish()
}

/// The seal that was packed; it is read as carefully as any.
pub(super) fn unpack_seal(packed: &[u8]) -> Result<Seal, read::SealError> {
    read::parse(BufReader::new(ZlibDecoder::new(packed)))
}

/// Packs marks.
pub(super) fn pack_change_tokens(marks: &[FileChangeToken]) -> io::Result<Vec<u8>> {
    let mut out = ZlibEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut out, marks)?;
    out.flush()?;
    out.finish()
}

/// The marks that were packed.
pub(super) fn unpack_change_tokens(packed: &[u8]) -> serde_json::Result<Vec<FileChangeToken>> {
    serde_json::from_reader(BufReader::new(ZlibDecoder::new(packed)))
}
