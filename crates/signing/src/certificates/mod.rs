//! Certificates (X.509, RFC 5280), and whether a chain of them leads from a leaf to a root that the
//! operator trusts.
//!
//! The chain check is written here, over the parser of `x509-cert`, because certificates of model
//! signers are not those of web servers: leaves may carry `CA:TRUE`, and no host name is asked for.

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

/// Longest certificate that is read, in bytes of DER.
const MAX_DER: usize = 64 << 10;

/// Most certificates of a bundle, or of a file of roots.
const MAX_COUNT: usize = 500;

/// Most certificates above a leaf.
const MAX_DEPTH: usize = 8;

/// Most signatures that are checked to find a chain.
const MAX_SIGNATURES: usize = 64;

/// A certificate that could be read; nothing in it was checked.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    /// Where in `der` what is signed stands (`TBSCertificate`).
    signed: Range<usize>,
    parsed: Box<x509_cert::Certificate>,
}

impl Certificate {
    /// Reads one certificate in DER.
    ///
    /// # Errors
    /// [`CertificateError::TooLong`] and [`CertificateError::Malformed`].
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

    /// Reads the certificates of a file: one in DER, or any number in PEM (RFC 7468, section 5), with
    /// whatever text around them.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn parse_all(bytes: &[u8]) -> Result<Vec<Self>, CertificateError> {
        // A sequence whose length takes more than a byte; text does not begin so.
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

    /// Reads the certificates of a bundle, the leaf first.
    pub(super) fn read_chain(ders: &[Vec<u8>]) -> Result<Vec<Self>, CertificateError> {
        if ders.len() > MAX_COUNT {
            return Err(CertificateError::TooMany(ders.len()));
        }
        ders.iter().map(|der| Self::from_der(der)).collect()
    }

    /// Its bytes, in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of its DER.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// Whose it is, safe to print.
    pub fn subject(&self) -> String {
        name::display(self.parsed.tbs_certificate().subject())
    }

    /// Who issued it, safe to print.
    pub fn issuer(&self) -> String {
        name::display(self.parsed.tbs_certificate().issuer())
    }

    /// Its serial number in lower-case hexadecimal.
    pub fn serial(&self) -> String {
        hex(self.parsed.tbs_certificate().serial_number().as_bytes())
    }

    /// First second of its validity.
    pub fn not_before(&self) -> Timestamp {
        timestamp(self.parsed.tbs_certificate().validity().not_before)
    }

    /// Last second of its validity.
    pub fn not_after(&self) -> Timestamp {
        timestamp(self.parsed.tbs_certificate().validity().not_after)
    }

    /// Further names of the subject (SubjectAltName), safe to print: `email:`, `URI:` and `DNS:`.
    pub fn names(&self) -> Vec<String> {
        extensions::alternative_names(self)
    }

    /// Its public key, if it is one that can check signatures of models.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        let info = self.parsed.tbs_certificate().subject_public_key_info();
        let der = info.to_der().map_err(|error| KeyError::Malformed(error.to_string()))?;
        PublicKey::from_der(&der)
    }

    /// Whether it was issued to enable keyless signing (Fulcio of Sigstore: its certificates carry
    /// extensions below 1.3.6.1.4.1.57264.1).
    pub(super) fn is_keyless(&self) -> bool {
        extensions::has_fulcio(self)
    }

    /// Whether its extended key usages are there and do not include signing of code.
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

/// Where the first element of the outer sequence stands.
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
