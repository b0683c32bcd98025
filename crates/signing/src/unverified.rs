//! Reads the manifest of a bundle without checking the signature.

use super::attestation::MAX_ATTESTATIONS;
use super::bundle::{Bundle, BundleError};
use super::oms::{Manifest, ManifestError};

/// An error in a bundle whose manifest is read without checking the signature.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnverifiedManifestError {
    /// The file is not a signature bundle, or is damaged.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The signed statement is not a valid manifest of a model.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// Reads the manifest of a bundle. **The signature is not checked**: anyone can write such a bundle. A digest
/// that differs shows that the model or the bundle was changed; a digest that matches proves nothing.
///
/// # Errors
/// Returns [`UnverifiedManifestError::Bundle`] if `bundle` is not a Sigstore bundle, and
/// [`UnverifiedManifestError::Manifest`] if its statement is not a valid manifest.
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
