use super::{Curve, EC_PUBLIC_KEY, KeyError, key_type};
use crate::pem::PemDocument;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use pkcs8::der::Decode;
use pkcs8::spki::{EncodePublicKey, SubjectPublicKeyInfoRef};
use pkcs8::{LineEnding, ObjectIdentifier};
use sha2::{Digest, Sha256};
use std::fmt;
use tensorseal_base::hex::hex;

/// A public key that verifies signatures.
#[derive(Clone)]
pub struct PublicKey(Point);

/// A point of a curve other than the point at infinity.
#[derive(Clone)]
enum Point {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.curve(), self.hint())
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.to_pem() == other.to_pem()
    }
}

impl Eq for PublicKey {}

impl PublicKey {
    /// Parses a public key in PEM (`SubjectPublicKeyInfo`; RFC 7468, section 13).
    ///
    /// # Errors
    /// Returns a [`KeyError`] if the text does not hold exactly one supported public key.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let document = PemDocument::parse(text)?;
        let [block] = &document.blocks[..] else { return Err(KeyError::SeveralKeys) };
        match block.label.as_str() {
            "PUBLIC KEY" => {}
            "CERTIFICATE" | "TRUSTED CERTIFICATE" => return Err(KeyError::Certificate),
            label if label.ends_with("PRIVATE KEY") => return Err(KeyError::PrivateKey),
            "RSA PUBLIC KEY" => return Err(KeyError::UnsupportedType("RSA".to_owned())),
            label => {
                return Err(KeyError::Label { label: label.to_owned(), expected: "public" });
            }
        }
        if document.trailing {
            return Err(KeyError::TrailingText);
        }
        Self::from_der(&block.der)
    }

    /// Parses a public key in DER (`SubjectPublicKeyInfo`; RFC 5280, section 4.1, and RFC 5480, section 2).
    ///
    /// # Errors
    /// Returns [`KeyError::Malformed`] if `der` is not a valid key, and [`KeyError::UnsupportedType`] if it is not on a
    /// supported curve.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoRef::from_der(der)
            .map_err(|error| KeyError::Malformed(error.to_string()))?;
        let curve = match info.algorithm.parameters {
            Some(parameters) => parameters.decode_as::<ObjectIdentifier>().ok(),
            None => None,
        };
        let supported =
            curve.filter(|_| info.algorithm.oid == EC_PUBLIC_KEY).and_then(Curve::from_oid);
        let Some(supported) = supported else {
            return Err(KeyError::UnsupportedType(key_type(info.algorithm.oid, curve)));
        };
        let point = info.subject_public_key.as_bytes().ok_or_else(|| {
            KeyError::Malformed("the point is not a whole number of bytes".to_owned())
        })?;
        Self::from_point(supported, point)
    }

    /// Parses a point (SEC 1, section 2.3.4), and checks that it is on the curve.
    fn from_point(curve: Curve, bytes: &[u8]) -> Result<Self, KeyError> {
        let point = match curve {
            Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).map(Point::P256),
            Curve::P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(bytes).map(Point::P384),
            Curve::P521 => p521::ecdsa::VerifyingKey::from_sec1_bytes(bytes).map(Point::P521),
        };
        point.map(Self).map_err(|_| KeyError::Malformed(format!("not a point on {curve}")))
    }

    pub(super) fn from_p256(key: &p256::ecdsa::SigningKey) -> Self {
        Self(Point::P256(*key.verifying_key()))
    }

    pub(super) fn from_p384(key: &p384::ecdsa::SigningKey) -> Self {
        Self(Point::P384(*key.verifying_key()))
    }

    pub(super) fn from_p521(key: &p521::ecdsa::SigningKey) -> Self {
        Self(Point::P521(*key.verifying_key()))
    }

    /// Returns the curve of the key.
    pub fn curve(&self) -> Curve {
        match &self.0 {
            Point::P256(_) => Curve::P256,
            Point::P384(_) => Curve::P384,
            Point::P521(_) => Curve::P521,
        }
    }

    /// Returns the key in PEM (`SubjectPublicKeyInfo`), with an uncompressed point, LF line ends, 64 columns and a final
    /// newline.
    #[allow(clippy::missing_panics_doc, reason = "the encoding of a point cannot fail")]
    pub fn to_pem(&self) -> String {
        let pem = match &self.0 {
            Point::P256(key) => key.to_public_key_pem(LineEnding::LF),
            Point::P384(key) => key.to_public_key_pem(LineEnding::LF),
            Point::P521(key) => key.to_public_key_pem(LineEnding::LF),
        };
        pem.expect("a point can always be encoded")
    }

    /// Returns the SHA-256 of [`Self::to_pem`], which identifies the key in a bundle.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.to_pem()).into()
    }

    /// Returns the [fingerprint](Self::fingerprint) in lower-case hexadecimal: the value of
    /// `verificationMaterial.publicKey.hint` in a bundle.
    pub fn hint(&self) -> String {
        hex(&self.fingerprint())
    }

    /// Returns whether `signature`, a DER `ECDSA-Sig-Value` (RFC 3279, section 2.2.3), is a valid signature of this key
    /// over `message`. The hash function is that of the curve: SHA-256, SHA-384 or SHA-512.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verify_parts(&[message], signature)
    }

    /// Verifies a signature over the concatenation of the parts of `message`; see [`Self::verify`].
    pub(crate) fn verify_parts(&self, message: &[&[u8]], signature: &[u8]) -> bool {
        self.verify_hash(&self.curve().hash(message), signature)
    }

    /// Verifies a signature over a message with this hash, which has 32 bytes or more; see [`Self::verify`].
    pub(crate) fn verify_hash(&self, hash: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Point::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(hash, &signature).is_ok()),
            Point::P384(key) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(hash, &signature).is_ok()),
            Point::P521(key) => p521::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(hash, &signature).is_ok()),
        }
    }
}
