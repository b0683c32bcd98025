use super::{Curve, EC_PUBLIC_KEY, KeyError, PublicKey, encrypted, key_type, openssh};
use crate::pem::{PemBlock, PemDocument};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use pkcs8::der::Decode;
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use sec1::{EcParameters, EcPrivateKey};
use std::fmt;

/// A private key that signs. Its memory is overwritten when it is dropped, and its debug output shows the public key
/// only.
pub struct PrivateKey(Scalar);

/// A secret scalar of a curve.
enum Scalar {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {:?})", self.public())
    }
}

impl PrivateKey {
    /// Returns whether a PEM text holds an encrypted private key, for which a passphrase is needed. Keys in the old
    /// encrypted PEM format (RFC 1421) are refused with or without a passphrase, so they do not count.
    pub fn is_encrypted(text: &[u8]) -> bool {
        PemDocument::parse(text)
            .is_ok_and(|document| document.blocks.iter().any(|block| block.label == ENCRYPTED))
    }

    /// Parses a private key in PEM: PKCS#8 (RFC 7468, section 10), encrypted PKCS#8 (section 11), or SEC 1 (RFC 5915,
    /// section 4). An `EC PARAMETERS` block before a SEC 1 key is ignored, and so is the passphrase of a key that is
    /// not encrypted.
    ///
    /// # Errors
    /// Returns a [`KeyError`] if the text does not hold exactly one supported private key, or if the key cannot be
    /// decrypted with `passphrase`.
    pub fn from_pem(text: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let document = PemDocument::parse(text)?;
        let block = only_key(&document)?;
        if document.trailing {
            return Err(KeyError::TrailingText);
        }
        if block.encrypted {
            let scheme = "the old PEM format (Proc-Type header)".to_owned();
            return Err(KeyError::UnsupportedEncryption(scheme));
        }
        match block.label.as_str() {
            "PRIVATE KEY" => Self::from_pkcs8(&block.der),
            "EC PRIVATE KEY" => Self::from_sec1(None, &block.der),
            ENCRYPTED => {
                let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
                let der = encrypted::decrypt(&block.der, passphrase)?;
                Self::from_pkcs8(der.as_bytes())
            }
            "OPENSSH PRIVATE KEY" => Err(openssh::error(&block.der)),
            label => Err(wrong_label(label)),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let info = PrivateKeyInfoRef::from_der(der)
            .map_err(|error| KeyError::Malformed(error.to_string()))?;
        let curve = match info.algorithm.parameters {
            Some(parameters) => parameters.decode_as::<ObjectIdentifier>().ok(),
            None => None,
        };
        match curve.filter(|_| info.algorithm.oid == EC_PUBLIC_KEY).and_then(Curve::from_oid) {
            Some(curve) => Self::from_sec1(Some(curve), info.private_key.as_bytes()),
            None => Err(KeyError::UnsupportedType(key_type(info.algorithm.oid, curve))),
        }
    }

    /// Parses an `ECPrivateKey` (RFC 5915, section 3) on the given curve, or else on the curve that it names. If it
    /// contains a public key, this must belong to the secret.
    fn from_sec1(curve: Option<Curve>, der: &[u8]) -> Result<Self, KeyError> {
        let key =
            EcPrivateKey::from_der(der).map_err(|error| KeyError::Malformed(error.to_string()))?;
        let named = key.parameters.and_then(EcParameters::named_curve);
        let Some(curve) = curve.or_else(|| named.and_then(Curve::from_oid)) else {
            return Err(KeyError::UnsupportedType(key_type(EC_PUBLIC_KEY, named)));
        };
        let scalar = match curve {
            Curve::P256 => p256::SecretKey::try_from(key).map(|key| Scalar::P256(key.into())),
            Curve::P384 => p384::SecretKey::try_from(key).map(|key| Scalar::P384(key.into())),
            Curve::P521 => p521::SecretKey::try_from(key).map(|key| Scalar::P521(key.into())),
        };
        scalar.map(Self).map_err(|_| KeyError::Malformed(format!("not a private key on {curve}")))
    }

    /// Returns the curve of the key.
    pub fn curve(&self) -> Curve {
        match &self.0 {
            Scalar::P256(_) => Curve::P256,
            Scalar::P384(_) => Curve::P384,
            Scalar::P521(_) => Curve::P521,
        }
    }

    /// Returns the public key of this private key.
    pub fn public(&self) -> PublicKey {
        match &self.0 {
            Scalar::P256(key) => PublicKey::from_p256(key),
            Scalar::P384(key) => PublicKey::from_p384(key),
            Scalar::P521(key) => PublicKey::from_p521(key),
        }
    }

    /// Signs a message with the hash function of the curve, and returns a DER `ECDSA-Sig-Value`. The nonce is that of
    /// RFC 6979, so that the same message always has the same signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_parts(&[message])
    }

    /// Signs the concatenation of the parts of `message`; see [`Self::sign`].
    pub(crate) fn sign_parts(&self, message: &[&[u8]]) -> Vec<u8> {
        self.sign_hash(&self.curve().hash(message))
    }

    fn sign_hash(&self, hash: &[u8]) -> Vec<u8> {
        const LONG_ENOUGH: &str = "the hash has at least half the length of the curve";
        match &self.0 {
            Scalar::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_prehash(hash).expect(LONG_ENOUGH);
                signature.to_der().as_bytes().to_vec()
            }
            Scalar::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign_prehash(hash).expect(LONG_ENOUGH);
                signature.to_der().as_bytes().to_vec()
            }
            Scalar::P521(key) => {
                let signature: p521::ecdsa::Signature = key.sign_prehash(hash).expect(LONG_ENOUGH);
                signature.to_der().as_bytes().to_vec()
            }
        }
    }
}

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// Returns the only block that is not `EC PARAMETERS`.
fn only_key(document: &PemDocument) -> Result<&PemBlock, KeyError> {
    let mut keys = document.blocks.iter().filter(|block| block.label != "EC PARAMETERS");
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(KeyError::SeveralKeys),
        (None, _) => Err(wrong_label("EC PARAMETERS")),
    }
}

fn wrong_label(label: &str) -> KeyError {
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => KeyError::PublicKey,
        "CERTIFICATE" | "TRUSTED CERTIFICATE" => KeyError::Certificate,
        "RSA PRIVATE KEY" => KeyError::UnsupportedType("RSA".to_owned()),
        "DSA PRIVATE KEY" => KeyError::UnsupportedType("DSA".to_owned()),
        _ => KeyError::Label { label: label.to_owned(), expected: "private" },
    }
}
