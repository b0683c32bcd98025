//! Reads the manifest of a bundle without checking the signature.

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
