//! Reads and writes Sigstore bundles (`dev.sigstore.bundle.v1.Bundle`, version 0.3, in JSON): an envelope with the
//! material to verify it.

use super::dsse::{Envelope, EnvelopeError, WrittenEnvelope};
use super::json::{self, StrictJsonError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// The longest bundle that is read or written, in bytes. A bundle of a million files fits.
pub const MAX_LEN: usize = 256 << 20;

/// The default name of a bundle in the directory that it signs (OpenSSF Model Signing).
pub const FILE_NAME: &str = "model.sig";

/// The media type that is written.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The media type that older programs write for the same version.
const OLDER_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";

/// An error in the text of a bundle.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The file is empty.
    #[error("not a signature bundle: the file is empty")]
    Empty,
    /// The file is longer than [`MAX_LEN`].
    #[error("not a signature bundle: {0} bytes, more than the limit of {MAX_LEN}")]
    TooLong(usize),
    /// The file is not the JSON of a bundle.
    #[error("not a signature bundle: {0}")]
    Json(#[from] StrictJsonError),
    /// The media type is that of another format or version.
    #[error("not a Sigstore bundle of version 0.3: its media type is '{}'", tensorseal_base::display::display_name(.0))]
    MediaType(String),
    /// The bundle holds a signature over bytes instead of an envelope.
    #[error("the bundle has no DSSE envelope")]
    NoEnvelope,
    /// The envelope is malformed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The bundle does not identify its signer.
    #[error("the bundle names neither a key nor a certificate")]
    NoMethod,
    /// The bundle identifies its signer more than once.
    #[error("the bundle names more than one of a key, a certificate and a chain of certificates")]
    SeveralMethods,
    /// The list of certificates is empty, or one is not base64.
    #[error("the bundle has no certificates, or they are not standard base64 with padding")]
    Certificates,
}

/// A parsed bundle. Nothing in it has been verified.
pub(super) struct Bundle {
    pub material: VerificationMaterial,
    pub envelope: Envelope,
    /// Whether the bundle has transparency log entries.
    pub has_log_entries: bool,
}

/// How a bundle identifies its signer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum VerificationMaterial {
    /// By a key with this [hint](super::keys::PublicKey::hint). Bundles of old programs have no hint.
    Key { hint: Option<String> },
    /// By a chain of certificates in DER, the leaf first.
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

/// The public key of a bundle. Old programs also write the key itself, which is ignored: only the key that the
/// verifier trusts counts.
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

/// A value that is ignored when it is read, and never written.
#[derive(Deserialize)]
struct Opaque(#[allow(dead_code)] IgnoredAny);

impl Serialize for Opaque {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl Bundle {
    /// Parses a bundle without verifying anything.
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
        let has_log_entries =
            material.tlog_entries.as_ref().is_some_and(|entries| !entries.is_empty());
        let material = VerificationMaterial::from_written(material)?;
        let envelope = Envelope::from_json(written.dsse_envelope.ok_or(BundleError::NoEnvelope)?)?;
        Ok(Self { material, envelope, has_log_entries })
    }

    /// Returns the JSON text of the bundle, on one line.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let written = WrittenBundle {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: self.material.to_written(),
            dsse_envelope: Some(self.envelope.to_json()),
        };
        serde_json::to_vec(&written).expect("strings and lists can be serialised")
    }
}

impl VerificationMaterial {
    fn from_written(written: WrittenMaterial) -> Result<Self, BundleError> {
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
        let encoded: Result<_, _> =
            written.iter().map(|certificate| STANDARD.decode(&certificate.raw_bytes)).collect();
        encoded.map(Self::Certificates).map_err(|_| BundleError::Certificates)
    }

    fn to_written(&self) -> WrittenMaterial {
        let mut written =
            WrittenMaterial { tlog_entries: Some(Vec::new()), ..WrittenMaterial::default() };
        match self {
            Self::Key { hint } => written.public_key = Some(WrittenKey { hint: hint.clone() }),
            Self::Certificates(encoded) => {
                let certificates = encoded
                    .iter()
                    .map(|der| WrittenCertificate { raw_bytes: STANDARD.encode(der) })
                    .collect();
                written.x509_certificate_chain = Some(WrittenChain { certificates });
            }
        }
        written
    }
}
