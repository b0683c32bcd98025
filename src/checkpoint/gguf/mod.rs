//! TODO

use super::contents::Contents;
use super::file::Opened;
use std::io;

pub(crate) fn is_plausible(_: &Opened) -> io::Result<bool> {
    Ok(false)
}

pub(crate) fn contents(_: &str, _: &Opened) -> io::Result<Contents> {
    Ok(Contents::default())
}

/// What the metadata of a GGUF file say of the model it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufModel {
    /// `general.architecture`.
    pub architecture: String,
    /// `<architecture>.attention.head_count`, where it is one number.
    pub heads: Option<u32>,
    /// `<architecture>.attention.head_count_kv`, where it is one number.
    pub key_value_heads: Option<u32>,
}
