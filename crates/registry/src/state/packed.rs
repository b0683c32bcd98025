//! Packs seals and change tokens for the database, as compressed JSON.

use crate::source::ChangeToken;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};
use std::io::{self, BufReader, Write};
use tensorseal_core::seal::{Seal, canonical, read};

/// The change token of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChangeToken {
    /// The path in the model.
    pub path: String,
    /// The change token.
    #[serde(rename = "mark")]
    pub token: ChangeToken,
}

/// Packs a seal.
pub(super) fn pack_seal(seal: &Seal) -> io::Result<Vec<u8>> {
    let mut out = ZlibEncoder::new(Vec::new(), Compression::fast());
    canonical::write(seal, &mut out)?;
    out.finish()
}

/// Unpacks a seal. It is validated like any other seal.
pub(super) fn unpack_seal(packed: &[u8]) -> Result<Seal, read::SealError> {
    read::parse(BufReader::new(ZlibDecoder::new(packed)))
}

/// Packs change tokens.
pub(super) fn pack_change_tokens(tokens: &[FileChangeToken]) -> io::Result<Vec<u8>> {
    let mut out = ZlibEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut out, tokens)?;
    out.flush()?;
    out.finish()
}

/// Unpacks change tokens.
pub(super) fn unpack_change_tokens(packed: &[u8]) -> serde_json::Result<Vec<FileChangeToken>> {
    serde_json::from_reader(BufReader::new(ZlibDecoder::new(packed)))
}
