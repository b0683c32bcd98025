//! The common parts of the key files of all schemes.

use serde::Deserialize;

/// The schema name of a key file.
pub const SCHEMA: &str = "tensorseal.watermark-key/1";

/// The maximum length of a note in bytes.
pub const MAX_NOTE: usize = 1024;

/// The members of a key file that determine its kind.
#[derive(Deserialize)]
pub(super) struct KeyFileHeader {
    pub schema: String,
    #[serde(default)]
    pub scheme: Option<String>,
}

/// Returns the scheme that a key file names, whatever else it contains; `None` if it is not a key file.
pub fn scheme_of(text: &[u8]) -> Option<String> {
    let head: KeyFileHeader = serde_json::from_slice(text).ok()?;
    (head.schema == SCHEMA).then(|| head.scheme.unwrap_or_default())
}
