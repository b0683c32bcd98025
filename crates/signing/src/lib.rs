//! Signs statements about models and verifies their signatures: OpenSSF Model Signing (OMS) v1.0.
//!
//! A signature file has four layers, and each has a module:
//!
//! - [`bundle`]: a Sigstore bundle (JSON). It names the key or carries the certificates ([`keys`],
//!   [`certificates`]) and contains an envelope.
//! - [`dsse`]: a DSSE envelope. It contains a statement and a signature over its bytes.
//! - [`statement`]: an in-toto Statement v1. It names a subject by its digest and contains a predicate.
//! - [`oms`]: the predicate of a model signature, a manifest of the files and their digests. Other predicates
//!   are signed in the same way.
//!
//! [`attestation`] holds the other facts about a model that are signed with the same key.
//!
//! [`verify()`] checks a signature and returns the bytes of the statement, which [`Manifest::parse`] and
//! [`Statement::parse`] read. [`sign_statement`] creates a bundle. [`parse_unverified()`] reads a manifest without
//! checking its signature. All functions depend only on their arguments: no function of this crate reads a file or
//! the clock, or prints.

pub mod attestation;
pub mod bundle;
pub mod certificates;
pub mod dsse;
mod json;
pub mod keys;
pub mod oms;
mod pem;
mod sign;
pub mod statement;
#[cfg(test)]
mod tests;
mod unverified;
mod verify;

pub use bundle::{BundleError, FILE_NAME as BUNDLE_FILE_NAME};
pub use certificates::{Certificate, CertificateError};
pub use dsse::EnvelopeError;
pub use json::StrictJsonError;
pub use keys::{Curve, KeyError, PrivateKey, PublicKey};
pub use oms::{Manifest, ManifestError, Resource};
pub use pem::PemError;
pub use sign::{SignError, SigningMethod, sign_statement};
pub use statement::{Statement, StatementError};
pub use unverified::{UnverifiedManifestError, are_bundles, parse_unverified};
pub use verify::{
    BundleWarning, SignatureError, Signer, TrustAnchors, UntrustedError, VerifiedBundle, verify,
};
