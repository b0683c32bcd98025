//! The Sigstore bundle (`dev.sigstore.bundle.v1.Bundle`, version 0.3, in its JSON form): an envelope and
//! what is needed to check it.

use super::dsse::{Envelope, EnvelopeError, WrittenEnvelope};
use super::json::{self, StrictJsonError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// Longest bundle that is read, in bytes: that of a million files.
pub const MAX_LEN: usize = 256 << 20;

/// The name of a bundle in the directory that it signs: the default of OpenSSF Model Signing.
pub const FILE_NAME: &str = "model.sig";

/// Media type of a bundle, as it is written.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Media type of the same version, as older programs write it.
const OLDER_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";

/// Why a text is not a bundle that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Nothing in it.
    #[error("not a signature bundle: the file is empty")]
    Empty,
    /// Longer than any bundle.
    #[error("not a signature bundle: {0} bytes long, and none is longer than {MAX_LEN}")]
    TooLong(usize),
    /// Not the JSON of a bundle.
    #[error("not a signature bundle: {0}")]
    Json(#[from] StrictJsonError),
    /// Another format, or another version of it.
    #[error("not a signature bundle of version 0.3: its media type is '{}'", tensorseal_base::display::display_name(.0))]
    MediaType(String),
    /// A signature over bytes rather than over a statement.
    #[error("the bundle has no DSSE envelope")]
    NoEnvelope,
    /// What is in the envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// It does not say how it was signed.
    #[error("the bundle names neither a key nor a certificate")]
    NoMethod,
    /// It says so twice.
    #[error("the bundle names more than one of a key, a certificate and a chain of certificates")]
    SeveralMethods,
    /// Certificates that are not base64, or none at all.
    #[error(
        "the certificates of the bundle are not standard base64 with padding, or there are none"
    )]
    Certificates,
}

/// A bundle that could be read; nothing in it was checked.
pub(super) struct Bundle {
    pub material: VerificationMaterial,
    pub envelope: Envelope,
    /// Whether it carries entries of a transparency log.
    pub has_log_entries: bool,
}

/// Who a bundle says signed it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum VerificationMaterial {
    /// A key, by the [fingerprint](super::keys::PublicKey::hint); bundles of old programs do not tell it.
    Key { hint: Option<String> },
    /// A chain of certificates in DER, the leaf first.
    Certificates(Vec<Vec<u8>>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenBundle {
    media_type: String,
    verification_material: WrittenMaterial,
    #[serde(default)]
    dsse_envelope: Option<WrittenEnvelope>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenMaterial {
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<WrittenKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x509_certificate_chain: Option<WrittenChain>,
    #[serde(skip_serializing)]
    certificate: Option<WrittenCertificate>,
    tlog_entries: Option<Vec<Opaque>>,
}

/// Old programs also write the key itself here, which proves nothing: the key is the operator's.
#[derive(Serialize, Deserialize)]
struct WrittenKey {
    #[serde(default)]
    hint: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WrittenChain {
    certificates: Vec<WrittenCertificate>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenCertificate {
    raw_bytes: String,
}

/// What is not looked into, and never written.
#[derive(Deserialize)]
struct Opaque(#[allow(dead_code)] IgnoredAny);

impl Serialize for Opaque {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl Bundle {
    /// Reads a bundle.
    pub(crate) fn parse_unverified(text: &[u8]) -> Result<Self, BundleError> {
        if text.len() > MAX_LEN {
            return Err(BundleError::TooLong(text.len()));
        }
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(BundleError::Empty);
        }
        let written: WrittenBundle = json::read(text)?;
        if written.media_type != MEDIA_TYPE && written.media_type != OLDER_MEDIA_TYPE {
            return Err(BundleError::MediaType(written.media_type));
        }
        let material = written.verification_material;
        let logged = material.tlog_entries.as_ref().is_some_and(|entries| !entries.is_empty());
        let method = VerificationMaterial::read(material)?;
        let envelope = Envelope::from_json(written.dsse_envelope.ok_or(BundleError::NoEnvelope)?)?;
        Ok(Self { material: method, envelope, has_log_entries: logged })
    }

    /// The text of the bundle, on one line.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let written = WrittenBundle {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: self.material.write(),
            dsse_envelope: Some(self.envelope.to_json()),
        };
        serde_json::to_vec(&written).expect("strings and lists of them can be written")
    }
}

impl VerificationMaterial {
    fn read(written: WrittenMaterial) -> Result<Self, BundleError> {
        match (written.public_key, written.x509_certificate_chain, written.certificate) {
            (Some(key), None, None) => {
                Ok(Self::Key { hint: key.hint.filter(|hint| !hint.is_empty()) })
            }
            (None, Some(chain), None) => Self::certificates(&chain.certificates),
            (None, None, Some(certificate)) => Self::certificates(&[certificate]),
            (None, None, None) => Err(BundleError::NoMethod),
            _ => Err(BundleError::SeveralMethods),
        }
    }

    fn certificates(written: &[WrittenCertificate]) -> Result<Self, BundleError> {
        if written.is_empty() {
            return Err(BundleError::Certificates);
        }
        let ders: Result<_, _> =
            written.iter().map(|certificate| STANDARD.decode(&certificate.raw_bytes)).collect();
        ders.map(Self::Certificates).map_err(|_| BundleError::Certificates)
    }

    fn write(&self) -> WrittenMaterial {
        let mut written =
            WrittenMaterial { tlog_entries: Some(Vec::new()), ..WrittenMaterial::default() };
        match self {
            Self::Key { hint } => written.public_key = Some(WrittenKey { hint: hint.clone() }),
            Self::Certificates(ders) => {
                let certificates = ders
                    .iter()
                    .map(|der| WrittenCertificate { raw_bytes: STANDARD.encode(der) })
                    .collect();
                written.x509_certificate_chain = Some(WrittenChain { certificates });
            }
        }
        written
    }
}
