//! What key files of all schemes have in common.

use serde::Deserialize;

/// Schema name of a key file.
pub const SCHEMA: &str = "tensorseal.watermark-key/1";

/// The longest note.
pub const MAX_NOTE: usize = 1024;

/// What says which kind of key a file holds.
#[derive(Deserialize)]
pub(super) struct KeyFileHeader {
    pub schema: String,
    #[serde(default)]
    pub scheme: Option<String>,
}

/// The scheme that a key file names, whatever else is in it; `None` for what is no key file.
pub fn scheme_of(text: &[u8]) -> Option<String> {
    let head: KeyFileHeader = serde_json::from_slice(text).ok()?;
    (head.schema == SCHEMA).then(|| head.scheme.unwrap_or_default())
}
