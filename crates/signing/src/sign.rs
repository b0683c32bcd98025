//! Signs a statement and writes the bundle.

use super::bundle::{self, Bundle, VerificationMaterial};
use super::certificates::Certificate;
use super::dsse::{Envelope, IN_TOTO, pae_head};
use super::keys::PrivateKey;

/// How a bundle identifies its signer.
#[derive(Debug, Clone)]
pub enum SigningMethod {
    /// By the key. A verifier needs the public key.
    Key,
    /// By a certificate of the key. A verifier needs the root certificate.
    Certificate {
        /// The certificate of the signing key.
        leaf: Certificate,
        /// The intermediate certificates, in any order; the root may be among them.
        chain: Vec<Certificate>,
    },
}

/// An error while a statement is signed.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The certificate was issued for another key.
    #[error("the certificate of {subject} does not belong to this private key")]
    OtherKey {
        /// The subject of the certificate.
        subject: String,
    },
    /// The bundle would be longer than [`bundle::MAX_LEN`].
    #[error("the bundle would be longer than {limit} bytes", limit = bundle::MAX_LEN)]
    TooLong,
}

/// Signs the bytes of a statement and returns the JSON text of the bundle. The output is deterministic: the same
/// statement, key and method always give the same bytes.
///
/// # Errors
/// Returns [`SignError::OtherKey`] if the certificate of `method` does not belong to `key`, and
/// [`SignError::TooLong`] if the bundle would be longer than [`bundle::MAX_LEN`].
pub fn sign_statement(
    statement: &[u8],
    key: &PrivateKey,
    method: &SigningMethod,
) -> Result<Vec<u8>, SignError> {
    let material = match method {
        SigningMethod::Key => VerificationMaterial::Key { hint: Some(key.public().hint()) },
        SigningMethod::Certificate { leaf, chain } => {
            if leaf.public_key().ok() != Some(key.public()) {
                return Err(SignError::OtherKey { subject: leaf.subject() });
            }
            let others = chain.iter().filter(|certificate| *certificate != leaf);
            let all = std::iter::once(leaf).chain(others);
            VerificationMaterial::Certificates(
                all.map(|certificate| certificate.der().to_vec()).collect(),
            )
        }
    };
    let signature = key.sign_parts(&[&pae_head(IN_TOTO, statement.len()), statement]);
    let envelope = Envelope { payload: statement.to_vec(), signature };
    let text = Bundle { material, envelope, has_log_entries: false }.to_json();
    if text.len() > bundle::MAX_LEN { Err(SignError::TooLong) } else { Ok(text) }
}
