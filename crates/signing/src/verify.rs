//! Verifies a bundle: its signature, its signer, and then its statement.

use super::bundle::{Bundle, BundleError, VerificationMaterial};
use super::certificates::{self, Certificate, CertificateError};
use super::dsse::PayloadEncoding;
use super::keys::{Curve, PublicKey};
use super::oms::ManifestError;
use super::statement::StatementError;
use jiff::Timestamp;
use serde::Serialize;
use std::fmt;
use tensorseal_base::display::display_name;
use tensorseal_base::hex::hex;

/// The keys or certificates that a user trusts to sign models.
#[derive(Debug, Clone)]
pub enum TrustAnchors {
    /// One public key.
    Key(PublicKey),
    /// Root certificates. A signer is trusted if its certificate chains up to one of them. Certificates that are
    /// not self-signed serve as intermediates only.
    Roots(Vec<Certificate>),
}

/// A bundle whose signature was verified.
#[derive(Debug, Clone)]
pub struct VerifiedBundle {
    /// The bytes of the signed statement.
    pub statement: Vec<u8>,
    /// The signer.
    pub signer: Signer,
    /// Unusual properties of the bundle.
    pub warnings: Vec<BundleWarning>,
}

/// The signer of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Signer {
    /// The holder of a trusted key.
    Key {
        /// The SHA-256 of the PEM text of the key, in lower-case hexadecimal.
        fingerprint: String,
        /// The curve of the key.
        curve: Curve,
    },
    /// The holder of a certificate.
    Certificate {
        /// The subject of the certificate.
        subject: String,
        /// The alternative names of the subject, prefixed with `email:`, `URI:` or `DNS:`.
        names: Vec<String>,
        /// The issuer of the certificate.
        issuer: String,
        /// The serial number, in lower-case hexadecimal.
        serial: String,
        /// The SHA-256 of the DER encoding, in lower-case hexadecimal.
        fingerprint: String,
        /// The first second at which the certificate is valid.
        not_before: Timestamp,
        /// The last second at which the certificate is valid.
        not_after: Timestamp,
    },
}

impl Signer {
    /// Returns the signer that holds `key`.
    pub fn from_key(key: &PublicKey) -> Self {
        Self::Key { fingerprint: key.hint(), curve: key.curve() }
    }

    /// Returns the signer that holds the certificate `leaf`.
    pub fn from_certificate(leaf: &Certificate) -> Self {
        Self::Certificate {
            subject: leaf.subject(),
            names: leaf.names(),
            issuer: leaf.issuer(),
            serial: leaf.serial(),
            fingerprint: hex(&leaf.fingerprint()),
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
        }
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { fingerprint, curve } => write!(f, "{curve} key {fingerprint}"),
            Self::Certificate { subject, names, issuer, .. } => {
                write!(f, "{subject}")?;
                if !names.is_empty() {
                    write!(f, " ({})", names.join(", "))?;
                }
                write!(f, ", certified by {issuer}")
            }
        }
    }
}

/// An unusual property of a bundle whose signature is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum BundleWarning {
    /// The bundle does not name the key that signed it, as those of old programs.
    #[error(
        "the bundle does not name the key that signed it (an old program wrote it): sign again to name the key"
    )]
    NoKeyHint,
    /// The bundle is signed with the encoding of `model_signing` 0.2, which differs from DSSE.
    #[error(
        "the bundle is signed with the encoding of model_signing 0.2 instead of DSSE: sign again"
    )]
    LegacyEncoding,
    /// The extended key usages of the certificate do not include code signing.
    #[error("the extended key usage of the signer's certificate does not include code signing")]
    OtherPurposes,
    /// The bundle has transparency log entries, which are not checked.
    #[error("the bundle has transparency log entries, which were not checked")]
    LogNotChecked,
}

/// An error of a bundle that no trusted signer signed.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UntrustedError {
    /// The bundle is signed with a key, and certificates are trusted, or the reverse.
    #[error("the bundle is signed with a {found}, but the trust anchor is a {expected}")]
    OtherMethod {
        /// The method of the bundle: `key` or `certificate`.
        found: &'static str,
        /// The method of the trust anchors: `key` or `certificate`.
        expected: &'static str,
    },
    /// The bundle names another key than the trusted one.
    #[error("signed with key '{}', but only key {trusted} is trusted", display_name(named))]
    OtherKey {
        /// The key hint in the bundle.
        named: String,
        /// The fingerprint of the trusted key.
        trusted: String,
    },
    /// The signature does not verify.
    #[error("invalid signature: it was not made by {signer} over this statement")]
    Signature {
        /// The expected signer.
        signer: String,
    },
    /// The certificate chain is not trusted.
    #[error("the signer is not trusted: {0}")]
    Certificate(#[from] CertificateError),
    /// The signature is keyless. Verifying it would need the trust root of Sigstore.
    #[error(
        "keyless signature (Sigstore) of {subject}: keyless verification is not supported, and the certificate does not chain up to a trusted root ({reason})"
    )]
    Keyless {
        /// The subject of the certificate.
        subject: String,
        /// The reason why its chain is not trusted.
        reason: CertificateError,
    },
}

/// An error of a bundle that cannot be relied on.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The file is not a signature bundle, or is damaged.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// No trusted signer signed the bundle.
    #[error(transparent)]
    Untrusted(#[from] UntrustedError),
    /// The signature is valid, but the signed payload is not a usable statement.
    #[error("the signature is valid, but {0}")]
    Statement(#[from] StatementError),
    /// The signature is valid, but the signed statement is not a usable manifest.
    #[error("the signature is valid, but {0}")]
    Manifest(#[from] ManifestError),
}

impl SignatureError {
    /// Returns whether the signature is valid and only the signed content is wrong.
    pub fn is_content_error(&self) -> bool {
        matches!(self, Self::Statement(_) | Self::Manifest(_))
    }
}

/// Verifies the signature of a bundle at the time `now`, and returns the statement. The statement is not parsed
/// before its signature is verified.
///
/// # Errors
/// Returns [`SignatureError::Bundle`] if `bundle` is not a Sigstore bundle, and [`SignatureError::Untrusted`] if no
/// signer that `trust` covers signed it.
pub fn verify(
    bundle: &[u8],
    trust: &TrustAnchors,
    now: Timestamp,
) -> Result<VerifiedBundle, SignatureError> {
    let bundle = Bundle::parse_unverified(bundle)?;
    let mut warnings = Vec::new();
    let signer = match (&bundle.material, trust) {
        (VerificationMaterial::Key { hint }, TrustAnchors::Key(key)) => {
            verify_with_key(&bundle, hint.as_deref(), key, &mut warnings)?
        }
        (VerificationMaterial::Certificates(encoded), TrustAnchors::Roots(roots)) => {
            verify_with_certificate(&bundle, encoded, roots, now, &mut warnings)?
        }
        (material, _) => {
            let (key, certificate) = ("key", "certificate");
            let (found, expected) = match material {
                VerificationMaterial::Key { .. } => (key, certificate),
                VerificationMaterial::Certificates(_) => (certificate, key),
            };
            return Err(UntrustedError::OtherMethod { found, expected }.into());
        }
    };
    if bundle.has_log_entries {
        warnings.push(BundleWarning::LogNotChecked);
    }
    Ok(VerifiedBundle { statement: bundle.envelope.payload, signer, warnings })
}

fn verify_with_key(
    bundle: &Bundle,
    hint: Option<&str>,
    key: &PublicKey,
    warnings: &mut Vec<BundleWarning>,
) -> Result<Signer, UntrustedError> {
    let fingerprint = key.hint();
    match hint {
        Some(named) if named != fingerprint => {
            return Err(UntrustedError::OtherKey { named: named.to_owned(), trusted: fingerprint });
        }
        Some(_) => {}
        None => warnings.push(BundleWarning::NoKeyHint),
    }
    let signer = Signer::from_key(key);
    check_signature(bundle, key, &signer, warnings)?;
    Ok(signer)
}

fn verify_with_certificate(
    bundle: &Bundle,
    encoded: &[Vec<u8>],
    roots: &[Certificate],
    now: Timestamp,
    warnings: &mut Vec<BundleWarning>,
) -> Result<Signer, UntrustedError> {
    let chain = Certificate::parse_chain(encoded)?;
    let (leaf, others) = chain.split_first().ok_or(CertificateError::None)?;
    certificates::verify_chain(leaf, others, roots, now).map_err(|reason| {
        if leaf.is_keyless() {
            UntrustedError::Keyless { subject: display_subject(leaf), reason }
        } else {
            UntrustedError::Certificate(reason)
        }
    })?;
    if leaf.excludes_code_signing() {
        warnings.push(BundleWarning::OtherPurposes);
    }
    let signer = Signer::from_certificate(leaf);
    let key = leaf.public_key().map_err(|_| CertificateError::Key {
        subject: leaf.subject(),
        key: "not usable to sign models".to_owned(),
    })?;
    check_signature(bundle, &key, &signer, warnings)?;
    Ok(signer)
}

/// Returns the alternative names of a certificate, or else its subject: certificates of keyless signers have no
/// subject.
fn display_subject(certificate: &Certificate) -> String {
    let names = certificate.names();
    if names.is_empty() { certificate.subject() } else { names.join(", ") }
}

fn check_signature(
    bundle: &Bundle,
    key: &PublicKey,
    signer: &Signer,
    warnings: &mut Vec<BundleWarning>,
) -> Result<(), UntrustedError> {
    match bundle.envelope.verify_signature(key) {
        Some(PayloadEncoding::Pae) => Ok(()),
        Some(PayloadEncoding::Legacy) => {
            warnings.push(BundleWarning::LegacyEncoding);
            Ok(())
        }
        None => Err(UntrustedError::Signature { signer: signer.to_string() }),
    }
}
