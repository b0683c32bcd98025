//! Keys of marks.

use std::path::Path;
use tensorseal_core::watermark::key::WatermarkKey;

/// Writes the watermark key of this name: always the same, so that tests do not depend on chance.
pub(crate) fn write_key(path: &Path, name: &str) {
    let secret = blake3::derive_key("tensorseal 2026-11-24 keys of tests v1", name.as_bytes());
    WatermarkKey::from_secret(&secret).write_new(path, "for the tests").unwrap();
}
