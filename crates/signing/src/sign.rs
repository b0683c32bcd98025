//! Signing a statement.

use super::bundle::{self, Bundle, VerificationMaterial};
use super::certificates::Certificate;
use super::dsse::{Envelope, IN_TOTO, pae_head};
use super::keys::PrivateKey;

/// How a bundle names who signed it.
#[derive(Debug, Clone)]
pub enum SigningMethod {
    /// By the key: whoever checks the bundle needs the public key.
    Key,
    /// By a certificate of the key: whoever checks the bundle needs the root.
    Certificate {
        /// The certificate of the key that signs.
        leaf: Certificate,
        /// Those between it and the root, in any order; the root may be among them.
        chain: Vec<Certificate>,
    },
}

/// Why a statement cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The certificate is not one of the key.
    #[error("the certificate of {subject} is not one of this private key")]
    OtherKey {
        /// Whose certificate.
        subject: String,
    },
    /// The bundle would be longer than any that is read.
    #[error("the bundle would be longer than {limit} bytes", limit = bundle::MAX_LEN)]
    TooLong,
}

/// Signs a statement, the bytes of which are kept as they are, and gives the text of the bundle.
/// The same statement, key and method always give the same bytes.
///
/// # Errors
/// See [`SignError`].
pub fn sign_statement(
    statement: &[u8],
    key: &PrivateKey,
    method: &SigningMethod,
) -> Result<Vec<u8>, SignError> {
    let method = match method {
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
    let text = Bundle { material: method, envelope, has_log_entries: false }.to_json();
    if text.len() > bundle::MAX_LEN { Err(SignError::TooLong) } else { Ok(text) }
}
