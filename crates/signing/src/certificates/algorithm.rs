//! Verifies signatures on certificates, and decides which algorithms are accepted.

use super::{Certificate, CertificateError};
use crate::keys::{EC_PUBLIC_KEY, hash_parts, key_type};
use pkcs8::ObjectIdentifier;
use rsa::pkcs1::RsaPssParams;
use rsa::signature::hazmat::PrehashVerifier;
use rsa::traits::PublicKeyParts;
use rsa::{pkcs1v15, pss};
use sha2::{Sha256, Sha384, Sha512};
use x509_cert::der::Any;
use x509_cert::der::referenced::OwnedToRef;
use x509_cert::spki::AlgorithmIdentifierOwned;

/// The smallest RSA modulus in bits (NIST SP 800-131A).
const MIN_RSA: u32 = 2048;

/// The largest RSA modulus in bits, which bounds the time of a verification.
const MAX_RSA: u32 = 8192;

/// The signature algorithm of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Algorithm {
    scheme: SignatureScheme,
    hash: Hash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignatureScheme {
    Ecdsa,
    /// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2).
    RsaPkcs1,
    /// RSASSA-PSS (RFC 8017, section 8.1) with MGF1 over the same hash, and a salt of this many bytes.
    RsaPss(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => hash_parts::<Sha256>(&[message]),
            Self::Sha384 => hash_parts::<Sha384>(&[message]),
            Self::Sha512 => hash_parts::<Sha512>(&[message]),
        }
    }
}

/// Checks that the key of `issuer` signed the certificate `subject`.
///
/// # Errors
/// Returns [`CertificateError::TwoAlgorithms`] or [`CertificateError::Algorithm`] if the algorithm is not accepted,
/// [`CertificateError::Key`] if the key is not accepted, and [`CertificateError::BadSignature`] if the signature is
/// invalid.
pub(super) fn check_signature(
    subject: &Certificate,
    issuer: &Certificate,
) -> Result<(), CertificateError> {
    let algorithm = subject.parsed.signature_algorithm();
    if algorithm != subject.parsed.tbs_certificate().signature() {
        return Err(CertificateError::TwoAlgorithms { subject: subject.subject() });
    }
    let algorithm = accepted(algorithm).map_err(|algorithm| CertificateError::Algorithm {
        subject: subject.subject(),
        algorithm,
    })?;
    let bad =
        || CertificateError::BadSignature { subject: subject.subject(), issuer: issuer.subject() };
    let signature = subject.parsed.signature().as_bytes().ok_or_else(bad)?;
    let hash = algorithm.hash.digest(&subject.der[subject.signed.clone()]);
    let valid = match algorithm.scheme {
        SignatureScheme::Ecdsa => ecdsa_key(issuer)?.verify_hash(&hash, signature),
        SignatureScheme::RsaPkcs1 => {
            let signature = pkcs1v15::Signature::try_from(signature).map_err(|_| bad())?;
            let key = rsa_key(issuer)?;
            match algorithm.hash {
                Hash::Sha256 => {
                    pkcs1v15::VerifyingKey::<Sha256>::new(key).verify_prehash(&hash, &signature)
                }
                Hash::Sha384 => {
                    pkcs1v15::VerifyingKey::<Sha384>::new(key).verify_prehash(&hash, &signature)
                }
                Hash::Sha512 => {
                    pkcs1v15::VerifyingKey::<Sha512>::new(key).verify_prehash(&hash, &signature)
                }
            }
            .is_ok()
        }
        SignatureScheme::RsaPss(salt) => {
            let signature = pss::Signature::try_from(signature).map_err(|_| bad())?;
            let (key, salt) = (rsa_key(issuer)?, usize::from(salt));
            match algorithm.hash {
                Hash::Sha256 => pss::VerifyingKey::<Sha256>::new_with_salt_len(key, salt)
                    .verify_prehash(&hash, &signature),
                Hash::Sha384 => pss::VerifyingKey::<Sha384>::new_with_salt_len(key, salt)
                    .verify_prehash(&hash, &signature),
                Hash::Sha512 => pss::VerifyingKey::<Sha512>::new_with_salt_len(key, salt)
                    .verify_prehash(&hash, &signature),
            }
            .is_ok()
        }
    };
    if valid { Ok(()) } else { Err(bad()) }
}

/// Returns the algorithm of an identifier (RFC 5758, section 3.2; RFC 8017, appendix A.2.4; RFC 4055), or the name
/// of one that is refused.
fn accepted(identifier: &AlgorithmIdentifierOwned) -> Result<Algorithm, String> {
    use SignatureScheme::{Ecdsa, RsaPkcs1};
    let (scheme, hash) = match identifier.oid.to_string().as_str() {
        "1.2.840.10045.4.3.2" => (Ecdsa, Hash::Sha256),
        "1.2.840.10045.4.3.3" => (Ecdsa, Hash::Sha384),
        "1.2.840.10045.4.3.4" => (Ecdsa, Hash::Sha512),
        "1.2.840.113549.1.1.11" => (RsaPkcs1, Hash::Sha256),
        "1.2.840.113549.1.1.12" => (RsaPkcs1, Hash::Sha384),
        "1.2.840.113549.1.1.13" => (RsaPkcs1, Hash::Sha512),
        "1.2.840.113549.1.1.10" => return pss_parameters(identifier),
        "1.2.840.113549.1.1.2" => return Err("MD2 with RSA".to_owned()),
        "1.2.840.113549.1.1.4" => return Err("MD5 with RSA".to_owned()),
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => return Err("SHA-1 with RSA".to_owned()),
        "1.2.840.113549.1.1.14" => return Err("SHA-224 with RSA".to_owned()),
        "1.2.840.10045.4.1" => return Err("SHA-1 with ECDSA".to_owned()),
        "1.2.840.10045.4.3.1" => return Err("SHA-224 with ECDSA".to_owned()),
        "1.2.840.10040.4.3" => return Err("SHA-1 with DSA".to_owned()),
        "2.16.840.1.101.3.4.3.2" => return Err("SHA-256 with DSA".to_owned()),
        "1.3.101.112" => return Err("Ed25519".to_owned()),
        "1.3.101.113" => return Err("Ed448".to_owned()),
        other => return Err(format!("algorithm {other}")),
    };
    Ok(Algorithm { scheme, hash })
}

fn pss_parameters(identifier: &AlgorithmIdentifierOwned) -> Result<Algorithm, String> {
    const MGF1: &str = "1.2.840.113549.1.1.8";
    let refused =
        || "RSA-PSS with unsupported parameters (expected the same SHA-2 hash twice)".to_owned();
    let encoded = identifier.parameters.as_ref().ok_or_else(refused)?;
    let parameters = encoded.decode_as::<RsaPssParams<Any>>().map_err(|_| refused())?;
    let mask = parameters.mask_gen;
    let same = mask.parameters.is_some_and(|inner| inner.oid == parameters.hash.oid);
    if mask.oid.to_string() != MGF1 || !same {
        return Err(refused());
    }
    let hash = match parameters.hash.oid.to_string().as_str() {
        "2.16.840.1.101.3.4.2.1" => Hash::Sha256,
        "2.16.840.1.101.3.4.2.2" => Hash::Sha384,
        "2.16.840.1.101.3.4.2.3" => Hash::Sha512,
        _ => return Err(refused()),
    };
    Ok(Algorithm { scheme: SignatureScheme::RsaPss(parameters.salt_len), hash })
}

fn ecdsa_key(issuer: &Certificate) -> Result<crate::keys::PublicKey, CertificateError> {
    issuer.public_key().map_err(|_| refused_key(issuer, None))
}

fn rsa_key(issuer: &Certificate) -> Result<rsa::PublicKey, CertificateError> {
    let info = issuer.parsed.tbs_certificate().subject_public_key_info();
    let key =
        rsa::PublicKey::try_from(info.owned_to_ref()).map_err(|_| refused_key(issuer, None))?;
    let bits = key.n().bit_width_vartime();
    if (MIN_RSA..=MAX_RSA).contains(&bits) { Ok(key) } else { Err(refused_key(issuer, Some(bits))) }
}

/// Returns the error for an issuer whose key is refused.
fn refused_key(issuer: &Certificate, bits: Option<u32>) -> CertificateError {
    let key = match bits {
        Some(bits) => format!("RSA with {bits} bits (expected {MIN_RSA} to {MAX_RSA})"),
        None => key_type_name(issuer),
    };
    CertificateError::Key { subject: issuer.subject(), key }
}

/// Returns the name of the key type of a certificate.
pub(super) fn key_type_name(certificate: &Certificate) -> String {
    let algorithm = &certificate.parsed.tbs_certificate().subject_public_key_info().algorithm;
    let curve = algorithm
        .parameters
        .as_ref()
        .filter(|_| algorithm.oid == EC_PUBLIC_KEY)
        .and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
    key_type(algorithm.oid, curve)
}
