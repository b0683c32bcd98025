//! Opening a bundle: its statement, once it is certain who signed it.

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

/// Who is trusted to sign.
#[derive(Debug, Clone)]
pub enum TrustAnchors {
    /// The holder of this key.
    Key(PublicKey),
    /// Whoever has a certificate that leads to one of these roots. Certificates that are not signed by
    /// themselves help to find the way to a root, and are none.
    Roots(Vec<Certificate>),
}

/// A bundle whose signature is sound.
#[derive(Debug, Clone)]
pub struct VerifiedBundle {
    /// The signed statement, byte for byte.
    pub statement: Vec<u8>,
    /// Who signed it.
    pub signer: Signer,
    /// What is unusual about the bundle.
    pub remarks: Vec<BundleWarning>,
}

/// Who signed a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Signer {
    /// The holder of the trusted key.
    Key {
        /// SHA-256 of the PEM text of the key, in lower-case hexadecimal.
        fingerprint: String,
        /// Its curve.
        curve: Curve,
    },
    /// The holder of a certificate.
    Certificate {
        /// Whose certificate.
        subject: String,
        /// Further names of the subject: `email:`, `URI:`, `DNS:`.
        names: Vec<String>,
        /// Who issued it.
        issuer: String,
        /// Its serial number, in lower-case hexadecimal.
        serial: String,
        /// SHA-256 of its DER, in lower-case hexadecimal.
        fingerprint: String,
        /// First second of its validity.
        not_before: Timestamp,
        /// Last second of its validity.
        not_after: Timestamp,
    },
}

impl Signer {
    /// The holder of a key.
    pub fn from_key(key: &PublicKey) -> Self {
        Self::Key { fingerprint: key.hint(), curve: key.curve() }
    }

    /// The holder of a certificate.
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

/// Something unusual about a bundle whose signature is sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum BundleWarning {
    /// It does not name the key: an old program wrote it.
    #[error(
        "the bundle does not name the key that signed it (written by an old program): sign again to name it"
    )]
    NoKeyHint,
    /// Signed the way of `model_signing` 0.2, which differs from DSSE.
    #[error("signed in the encoding of model_signing 0.2, which is not that of DSSE: sign again")]
    LegacyEncoding,
    /// A certificate whose extended key usages do not include signing of code.
    #[error(
        "the certificate of the signer is meant for other purposes than signing code (extended key usage)"
    )]
    OtherPurposes,
    /// Entries of a transparency log, which are not looked at.
    #[error("the bundle has entries of a transparency log, which were not checked")]
    LogNotChecked,
}

/// Why a bundle is not signed by who is trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UntrustedError {
    /// Signed in the other way than the trusted one.
    #[error("the bundle is signed with a {found}, and a {wanted} is trusted")]
    OtherMethod {
        /// `key` or `certificate`.
        found: &'static str,
        /// `key` or `certificate`.
        wanted: &'static str,
    },
    /// It names another key.
    #[error(
        "the bundle is signed with another key: it names '{}', and {trusted} is trusted",
        display_name(named)
    )]
    OtherKey {
        /// What the bundle says.
        named: String,
        /// The fingerprint of the trusted key.
        trusted: String,
    },
    /// The signature is not one of the key over this statement.
    #[error("the signature is not one of {signer} over this statement")]
    Signature {
        /// Who should have signed.
        signer: String,
    },
    /// No trusted chain of certificates.
    #[error("the signer is not trusted: {0}")]
    Certificate(#[from] CertificateError),
    /// A keyless signature, which would need the trust root of Sigstore.
    #[error(
        "a keyless signature (Sigstore) of {subject}: checking those is not built in, and its certificate alone does not lead to a trusted root ({reason})"
    )]
    Keyless {
        /// Whose certificate.
        subject: String,
        /// Why its chain is not trusted.
        reason: CertificateError,
    },
}

/// Why a bundle does not say anything that can be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is no bundle, or a damaged one.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It is not signed by who is trusted.
    #[error(transparent)]
    Untrusted(#[from] UntrustedError),
    /// It is, but what was signed is no statement that can be used.
    #[error("signed by who is trusted, but {0}")]
    Statement(#[from] StatementError),
    /// It is, but what was signed is no manifest of a model that can be used.
    #[error("signed by who is trusted, but {0}")]
    Manifest(#[from] ManifestError),
}

impl SignatureError {
    /// Whether the signature is sound, and only what was signed is wrong.
    pub fn is_content_error(&self) -> bool {
        matches!(self, Self::Statement(_) | Self::Manifest(_))
    }
}

/// Checks the signature of a bundle as of `now`, and gives the statement. Nothing of the statement is
/// looked at before.
///
/// # Errors
/// [`SignatureError::Bundle`] and [`SignatureError::Untrusted`].
pub fn verify(
    bundle: &[u8],
    trust: &TrustAnchors,
    now: Timestamp,
) -> Result<VerifiedBundle, SignatureError> {
    let bundle = Bundle::parse_unverified(bundle)?;
    let mut remarks = Vec::new();
    let signer = match (&bundle.material, trust) {
        (VerificationMaterial::Key { hint }, TrustAnchors::Key(key)) => {
            by_key(&bundle, hint.as_deref(), key, &mut remarks)?
        }
        (VerificationMaterial::Certificates(ders), TrustAnchors::Roots(roots)) => {
            by_certificate(&bundle, ders, roots, now, &mut remarks)?
        }
        (method, _) => {
            let (key, certificate) = ("key", "certificate");
            let (found, wanted) = match method {
                VerificationMaterial::Key { .. } => (key, certificate),
                VerificationMaterial::Certificates(_) => (certificate, key),
            };
            return Err(UntrustedError::OtherMethod { found, wanted }.into());
        }
    };
    if bundle.has_log_entries {
        remarks.push(BundleWarning::LogNotChecked);
    }
    Ok(VerifiedBundle { statement: bundle.envelope.payload, signer, remarks })
}

fn by_key(
    bundle: &Bundle,
    hint: Option<&str>,
    key: &PublicKey,
    remarks: &mut Vec<BundleWarning>,
) -> Result<Signer, UntrustedError> {
    let fingerprint = key.hint();
    match hint {
        Some(named) if named != fingerprint => {
            return Err(UntrustedError::OtherKey { named: named.to_owned(), trusted: fingerprint });
        }
        Some(_) => {}
        None => remarks.push(BundleWarning::NoKeyHint),
    }
    let signer = Signer::from_key(key);
    check_signature(bundle, key, &signer, remarks)?;
    Ok(signer)
}

fn by_certificate(
    bundle: &Bundle,
    ders: &[Vec<u8>],
    roots: &[Certificate],
    now: Timestamp,
    remarks: &mut Vec<BundleWarning>,
) -> Result<Signer, UntrustedError> {
    let chain = Certificate::read_chain(ders)?;
    let (leaf, others) = chain.split_first().ok_or(CertificateError::None)?;
    certificates::verify_chain(leaf, others, roots, now).map_err(|reason| {
        if leaf.is_keyless() {
            UntrustedError::Keyless { subject: described(leaf), reason }
        } else {
            UntrustedError::Certificate(reason)
        }
    })?;
    if leaf.excludes_code_signing() {
        remarks.push(BundleWarning::OtherPurposes);
    }
    let signer = Signer::from_certificate(leaf);
    let key = leaf.public_key().map_err(|_| CertificateError::Key {
        subject: leaf.subject(),
        key: "not one that can sign models".to_owned(),
    })?;
    check_signature(bundle, &key, &signer, remarks)?;
    Ok(signer)
}

/// The subject of a certificate, or its other names: those of keyless signers have only such.
fn described(certificate: &Certificate) -> String {
    let names = certificate.names();
    if names.is_empty() { certificate.subject() } else { names.join(", ") }
}

fn check_signature(
    bundle: &Bundle,
    key: &PublicKey,
    signer: &Signer,
    remarks: &mut Vec<BundleWarning>,
) -> Result<(), UntrustedError> {
    match bundle.envelope.verify_signature(key) {
        Some(PayloadEncoding::Pae) => Ok(()),
        Some(PayloadEncoding::Legacy) => {
            remarks.push(BundleWarning::LegacyEncoding);
            Ok(())
        }
        None => Err(UntrustedError::Signature { signer: signer.to_string() }),
    }
}
