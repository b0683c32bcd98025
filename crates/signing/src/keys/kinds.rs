//! Object identifiers and names of key types and curves.

use pkcs8::ObjectIdentifier;

/// `id-ecPublicKey` (RFC 5480, section 2.1.1).
pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier = oid("1.2.840.10045.2.1");
pub(super) const P256: ObjectIdentifier = oid("1.2.840.10045.3.1.7");
pub(super) const P384: ObjectIdentifier = oid("1.3.132.0.34");
pub(super) const P521: ObjectIdentifier = oid("1.3.132.0.35");

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// Returns the name of an unsupported key type, from its algorithm and, for an elliptic curve, the object identifier
/// of the curve.
pub(crate) fn key_type(algorithm: ObjectIdentifier, curve: Option<ObjectIdentifier>) -> String {
    if algorithm == EC_PUBLIC_KEY {
        return match curve {
            Some(curve) => curve_name(curve),
            None => "elliptic curve with explicit parameters".to_owned(),
        };
    }
    let name = match algorithm.to_string().as_str() {
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        "1.3.101.110" => "X25519",
        "1.3.101.111" => "X448",
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.10040.4.1" => "DSA",
        "1.2.840.113549.1.3.1" => "Diffie-Hellman",
        "1.2.156.10197.1.301" => "SM2",
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
        other => return format!("algorithm {other}"),
    };
    name.to_owned()
}

fn curve_name(curve: ObjectIdentifier) -> String {
    let name = match curve.to_string().as_str() {
        "1.2.840.10045.3.1.7" => "P-256 (malformed)",
        "1.3.132.0.34" => "P-384 (malformed)",
        "1.3.132.0.35" => "P-521 (malformed)",
        "1.2.840.10045.3.1.1" => "P-192",
        "1.3.132.0.33" => "P-224",
        "1.3.132.0.10" => "secp256k1",
        "1.3.36.3.3.2.8.1.1.7" => "brainpoolP256r1",
        "1.3.36.3.3.2.8.1.1.11" => "brainpoolP384r1",
        "1.3.36.3.3.2.8.1.1.13" => "brainpoolP512r1",
        "1.2.156.10197.1.301" => "SM2",
        other => return format!("elliptic curve {other}"),
    };
    name.to_owned()
}
