//! Parses certificates (X.509, RFC 5280), and verifies that a chain of them leads from a leaf to a trusted root.
//!
//! The chain is verified here, on top of the parser of `x509-cert`, because certificates of model signers differ
//! from those of web servers: leaves may have `CA:TRUE`, and there is no host name to check.

mod algorithm;
mod chain;
mod error;
mod extensions;
mod name;

pub use chain::{verify_chain, verify_leaf};
pub use error::CertificateError;

use super::keys::{KeyError, PublicKey};
use super::pem::PemDocument;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::fmt;
use std::ops::Range;
use tensorseal_base::hex::hex;
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::time::Time;

/// The longest certificate that is read, in bytes of DER.
const MAX_DER: usize = 64 << 10;

/// The largest number of certificates in a bundle or in a file of roots.
const MAX_COUNT: usize = 500;

/// The largest number of certificates above a leaf.
const MAX_DEPTH: usize = 8;

/// The largest number of signatures that are checked to find a chain.
const MAX_SIGNATURES: usize = 64;

/// A parsed certificate. Nothing in it has been verified.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    /// The byte range of the signed part (`TBSCertificate`) in `der`.
    signed: Range<usize>,
    parsed: Box<x509_cert::Certificate>,
}

impl Certificate {
    /// Parses one certificate in DER.
    ///
    /// # Errors
    /// Returns [`CertificateError::TooLong`] if `der` is longer than 64 KiB, and [`CertificateError::Malformed`] if it is
    /// not a certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_DER {
            return Err(CertificateError::TooLong(der.len()));
        }
        let malformed = |error: x509_cert::der::Error| {
            CertificateError::Malformed(tensorseal_base::display::display_name(&error.to_string()))
        };
        let parsed = x509_cert::Certificate::from_der(der).map_err(malformed)?;
        let signed = signed_part(der).map_err(malformed)?;
        Ok(Self { der: der.to_vec(), signed, parsed: Box::new(parsed) })
    }

    /// Parses the certificates of a file: one in DER, or up to 500 in PEM (RFC 7468, section 5). Text around the PEM
    /// blocks is ignored.
    ///
    /// # Errors
    /// Returns a [`CertificateError`] if the file is neither DER nor PEM, has other PEM blocks or too many of them, or
    /// if a certificate is malformed.
    pub fn parse_all(bytes: &[u8]) -> Result<Vec<Self>, CertificateError> {
        // A DER sequence with a length of more than one byte: text never begins with these bytes.
        if let [0x30, 0x80..=0xff, ..] = bytes {
            return Ok(vec![Self::from_der(bytes)?]);
        }
        let blocks = PemDocument::parse(bytes)?.blocks;
        if blocks.len() > MAX_COUNT {
            return Err(CertificateError::TooMany(blocks.len()));
        }
        blocks
            .into_iter()
            .map(|block| match block.label.as_str() {
                "CERTIFICATE" | "X509 CERTIFICATE" => Self::from_der(&block.der),
                _ => Err(CertificateError::Label(block.label)),
            })
            .collect()
    }

    /// Parses the certificates of a bundle, the leaf first.
    pub(super) fn parse_chain(encoded: &[Vec<u8>]) -> Result<Vec<Self>, CertificateError> {
        if encoded.len() > MAX_COUNT {
            return Err(CertificateError::TooMany(encoded.len()));
        }
        encoded.iter().map(|der| Self::from_der(der)).collect()
    }

    /// Returns the certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the SHA-256 of the certificate in DER.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// Returns the subject, escaped for display.
    pub fn subject(&self) -> String {
        name::display(self.parsed.tbs_certificate().subject())
    }

    /// Returns the issuer, escaped for display.
    pub fn issuer(&self) -> String {
        name::display(self.parsed.tbs_certificate().issuer())
    }

    /// Returns the serial number in lower-case hexadecimal.
    pub fn serial(&self) -> String {
        hex(self.parsed.tbs_certificate().serial_number().as_bytes())
    }

    /// Returns the first second at which the certificate is valid.
    pub fn not_before(&self) -> Timestamp {
        timestamp(self.parsed.tbs_certificate().validity().not_before)
    }

    /// Returns the last second at which the certificate is valid.
    pub fn not_after(&self) -> Timestamp {
        timestamp(self.parsed.tbs_certificate().validity().not_after)
    }

    /// Returns the alternative names of the subject (SubjectAltName), escaped for display and prefixed with `email:`,
    /// `URI:` or `DNS:`.
    pub fn names(&self) -> Vec<String> {
        extensions::alternative_names(self)
    }

    /// Returns the public key.
    ///
    /// # Errors
    /// Returns [`KeyError::UnsupportedType`] if the key cannot verify signatures of models, and [`KeyError::Malformed`]
    /// if it is not valid.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        let info = self.parsed.tbs_certificate().subject_public_key_info();
        let der = info.to_der().map_err(|error| KeyError::Malformed(error.to_string()))?;
        PublicKey::from_der(&der)
    }

    /// Returns whether the certificate was issued for keyless signing: certificates of Sigstore's Fulcio have extensions
    /// below 1.3.6.1.4.1.57264.1.
    pub(super) fn is_keyless(&self) -> bool {
        extensions::has_fulcio(self)
    }

    /// Returns whether the certificate has extended key usages, and code signing is not among them.
    pub(super) fn excludes_code_signing(&self) -> bool {
        extensions::KnownExtensions::read(self).is_ok_and(|known| known.excludes_code_signing())
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {})", self.subject(), hex(&self.fingerprint()))
    }
}

/// Returns the byte range of the first element of the outer sequence.
fn signed_part(der: &[u8]) -> x509_cert::der::Result<Range<usize>> {
    let mut reader = SliceReader::new(der)?;
    let first = reader.sequence(|inner| -> x509_cert::der::Result<&[u8]> {
        let first = inner.tlv_bytes()?;
        inner.drain(inner.remaining_len())?;
        Ok(first)
    })?;
    let start = first.as_ptr() as usize - der.as_ptr() as usize;
    Ok(start..start + first.len())
}

fn timestamp(time: Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    // 99991231235959Z, "no expiry" (RFC 5280, section 4.1.2.5), is beyond the last timestamp.
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
