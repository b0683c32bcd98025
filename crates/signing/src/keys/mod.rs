//! Keys that sign and verify: ECDSA on the curves P-256, P-384 and P-521 with SHA-256, SHA-384 and SHA-512, as the
//! Sigstore bundle format pairs them.

mod encrypted;
mod error;
mod kinds;
mod openssh;
mod private;
mod public;

pub use error::KeyError;
pub(crate) use kinds::{EC_PUBLIC_KEY, key_type};
pub use private::PrivateKey;
pub use public::PublicKey;

use pkcs8::ObjectIdentifier;
use serde::Serialize;
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::fmt;

/// An elliptic curve of FIPS 186-5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Curve {
    /// NIST P-256 (secp256r1).
    #[serde(rename = "P-256")]
    P256,
    /// NIST P-384 (secp384r1).
    #[serde(rename = "P-384")]
    P384,
    /// NIST P-521 (secp521r1).
    #[serde(rename = "P-521")]
    P521,
}

impl Curve {
    /// Returns the name of the curve: `P-256`, `P-384` or `P-521`.
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Returns the curve with this object identifier (RFC 5480, section 2.1.1.1).
    fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        match oid {
            kinds::P256 => Some(Self::P256),
            kinds::P384 => Some(Self::P384),
            kinds::P521 => Some(Self::P521),
            _ => None,
        }
    }

    /// Hashes the concatenation of `parts` with the hash function of the curve.
    fn hash(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::P256 => hash_parts::<Sha256>(parts),
            Self::P384 => hash_parts::<Sha384>(parts),
            Self::P521 => hash_parts::<Sha512>(parts),
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Hashes the concatenation of `parts`.
pub(crate) fn hash_parts<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut hasher = D::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().to_vec()
}
