//! Signing statements about models, and checking who signed them: OpenSSF Model Signing (OMS) v1.0.
//!
//! A signature is a file of four layers, each read by a module of its own:
//!
//! - [`bundle`]: a Sigstore bundle (JSON), which names the key or carries the certificates ([`keys`],
//!   [`certificates`]) and holds
//! - [`dsse`]: a DSSE envelope, a signature over the bytes of
//! - [`statement`]: an in-toto Statement v1, about a subject with a digest, whose predicate is
//! - [`oms`]: the manifest of a model, its files and their digests. Other predicates are signed alike.
//!
//! [`attestation`] is about other facts of a model, which the same key signs.
//!
//! [`verify()`] checks the signature and gives the bytes of the statement; [`Manifest::parse`] and
//! [`Statement::parse`] read them; [`sign_statement`] goes the other way. [`parse_unverified()`] reads a manifest that
//! nobody vouches for. Everything here is a function of bytes and of a time that is given: no files, no clock,
//! no output.

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
