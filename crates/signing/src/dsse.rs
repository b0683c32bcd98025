//! Reads and writes DSSE envelopes (Dead Simple Signing Envelope, version 1.0): a payload, its type, and a
//! signature over both.

use super::keys::PublicKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The payload type of an in-toto statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// An envelope with one signature. The payload must not be trusted before the signature is verified.
pub(super) struct Envelope {
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// The signature, in DER.
    pub signature: Vec<u8>,
}

/// The JSON form of an envelope.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<WrittenSignature>,
}

#[derive(Serialize, Deserialize)]
struct WrittenSignature {
    sig: String,
    /// The key id, which is ignored: absent, null and empty are equal.
    #[serde(default)]
    keyid: Option<String>,
}

/// An error in an envelope.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The payload is not an in-toto statement.
    #[error("unsupported payload type '{}': expected {IN_TOTO}", tensorseal_base::display::display_name(.0))]
    PayloadType(String),
    /// The envelope has no signature.
    #[error("the envelope has no signature")]
    NoSignature,
    /// The envelope has more than one signature. A Sigstore bundle has exactly one, and checking only the first
    /// would ignore the others.
    #[error("the envelope has {0} signatures, not exactly one")]
    SeveralSignatures(usize),
    /// A member is not base64.
    #[error("the {0} is not standard base64 with padding")]
    Base64(&'static str),
}

impl Envelope {
    pub(crate) fn from_json(written: WrittenEnvelope) -> Result<Self, EnvelopeError> {
        if written.payload_type != IN_TOTO {
            return Err(EnvelopeError::PayloadType(written.payload_type));
        }
        let [signature] = &written.signatures[..] else {
            return Err(match written.signatures.len() {
                0 => EnvelopeError::NoSignature,
                several => EnvelopeError::SeveralSignatures(several),
            });
        };
        let decode =
            |text: &str, what| STANDARD.decode(text).map_err(|_| EnvelopeError::Base64(what));
        Ok(Self {
            payload: decode(&written.payload, "payload")?,
            signature: decode(&signature.sig, "signature")?,
        })
    }

    pub(crate) fn to_json(&self) -> WrittenEnvelope {
        WrittenEnvelope {
            payload: STANDARD.encode(&self.payload),
            payload_type: IN_TOTO.to_owned(),
            signatures: vec![WrittenSignature {
                sig: STANDARD.encode(&self.signature),
                keyid: Some(String::new()),
            }],
        }
    }

    /// Verifies the signature with `key`, and returns the encoding that was signed; `None` if the signature is invalid.
    pub(crate) fn verify_signature(&self, key: &PublicKey) -> Option<PayloadEncoding> {
        let head = pae_head(IN_TOTO, self.payload.len());
        if key.verify_parts(&[&head, &self.payload], &self.signature) {
            return Some(PayloadEncoding::Pae);
        }
        let hash = legacy_hash(&self.payload);
        key.verify_hash(&hash, &self.signature).then_some(PayloadEncoding::Legacy)
    }
}

/// The encoding of a payload that was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadEncoding {
    /// The pre-authentication encoding of DSSE.
    Pae,
    /// The encoding of `model_signing` 0.2.
    Legacy,
}

/// Returns the part of the pre-authentication encoding that precedes the payload (DSSE protocol, "Signature
/// Definition"): `DSSEv1`, the length of the type, the type, and the length of the payload, each followed by a
/// space. Lengths are decimal and in bytes.
pub(super) fn pae_head(payload_type: &str, payload_len: usize) -> Vec<u8> {
    format!("DSSEv1 {} {payload_type} {payload_len} ", payload_type.len()).into_bytes()
}

/// Returns the hash that `model_signing` 0.2 signed: the SHA-256, whatever the curve, of an encoding with `DSSEV1`
/// (a capital V) and the `repr` of the payload in Python.
fn legacy_hash(payload: &[u8]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update(format!("DSSEV1 {} {IN_TOTO} {} ", IN_TOTO.len(), payload.len()));
    update_python_repr(&mut hasher, payload);
    hasher.finalize().to_vec()
}

/// Hashes Python's `repr(bytes)`. It is in single quotes, or in double quotes if the bytes contain single quotes
/// only. Printable ASCII stands for itself; everything else is escaped.
fn update_python_repr(hasher: &mut Sha256, bytes: &[u8]) {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { b'"' } else { b'\'' };
    let mut text = Vec::with_capacity(1 << 16);
    text.extend([b'b', quote]);
    for &byte in bytes {
        match byte {
            b'\t' => text.extend(b"\\t"),
            b'\n' => text.extend(b"\\n"),
            b'\r' => text.extend(b"\\r"),
            b'\\' => text.extend(b"\\\\"),
            _ if byte == quote => text.extend([b'\\', quote]),
            b' '..=b'~' => text.push(byte),
            _ => text.extend(format!("\\x{byte:02x}").into_bytes()),
        }
        if text.len() >= (1 << 16) - 8 {
            hasher.update(&text);
            text.clear();
        }
    }
    text.push(quote);
    hasher.update(&text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorseal_base::hex::hex;

    /// The example of the protocol.
    #[test]
    fn pre_authentication_encoding() {
        let payload = "hello world";
        let mut pae = pae_head("http://example.com/HelloWorld", payload.len());
        pae.extend(payload.bytes());
        assert_eq!(pae, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    /// Made with `hashlib.sha256(repr(bytes).encode())` of Python.
    #[test]
    fn python_repr_of_bytes() {
        let of = |bytes: &[u8]| {
            let mut hasher = Sha256::new();
            update_python_repr(&mut hasher, bytes);
            hex(&hasher.finalize())
        };
        let all: Vec<u8> = (0..=255).collect();
        let long: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
        for (bytes, expected) in [
            (&b""[..], REPR_EMPTY),
            (b"it's", REPR_SINGLE),
            (b"it's \"both\"", REPR_BOTH),
            (&all, REPR_ALL),
            (&long, REPR_LONG),
        ] {
            assert_eq!(of(bytes), expected);
        }
    }

    const REPR_EMPTY: &str = "1df8639a53769df8d7c936f1247facdff4636e11b43d7b868f96709eb67235d5";
    const REPR_SINGLE: &str = "03930b64f547357f4d185862c540c8080ac7ac978f38f995b38b7b8742293653";
    const REPR_BOTH: &str = "236000e77506c1f482a0b58710f2af2579c082427221ab53e6a018c673ef7380";
    const REPR_ALL: &str = "896463bd16ea9ebc4e4e16d25aafd2a680d5b19a03a37a2f088161d8b0f1c2e7";
    const REPR_LONG: &str = "265e46b60403c1dc1737fd4c1654602c6a960a8d109aa34ee170c821c013aea7";
}
