//! What a bundle states, whoever made it.

use super::attestation::MAX_ATTESTATIONS;
use super::bundle::{Bundle, BundleError};
use super::oms::{Manifest, ManifestError};

/// Why a bundle states nothing of a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnverifiedManifestError {
    /// It is no bundle, or a damaged one.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// What is in it is no manifest of a model that can be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// Reads what a bundle states of a model. **Its signature is not looked at**: anybody can write such a bundle.
/// What it states can be held against the model, and proves nothing for it.
///
/// # Errors
/// See [`UnverifiedManifestError`].
pub fn parse_unverified(bundle: &[u8]) -> Result<Manifest, UnverifiedManifestError> {
    let bundle = Bundle::parse_unverified(bundle)?;
    Ok(Manifest::parse(&bundle.envelope.payload)?)
}

/// Whether `text` is one bundle, or several as JSON Lines, and nothing else. No signature is checked.
pub fn are_bundles(text: &[u8]) -> bool {
    if Bundle::parse_unverified(text).is_ok() {
        return true;
    }
    let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).peekable();
    lines.peek().is_some()
        && lines.clone().count() <= MAX_ATTESTATIONS
        && lines.all(|line| Bundle::parse_unverified(line).is_ok())
}
