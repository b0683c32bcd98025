use super::super::pem::PemError;
use tensorseal_base::display::display_name;

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM (RFC 7468), or not whole.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A private key where a public one is wanted.
    #[error(
        "a private key where the public key is wanted: give the file with -----BEGIN PUBLIC KEY-----"
    )]
    PrivateKey,
    /// A public key where a private one is wanted.
    #[error("a public key where the private key is wanted")]
    PublicKey,
    /// A certificate where a key is wanted.
    #[error("a certificate where a key is wanted")]
    Certificate,
    /// A PEM block of something else.
    #[error("a PEM block labelled '{}', which is not that of a {wanted} key", display_name(label))]
    Label {
        /// The label, as written.
        label: String,
        /// `public` or `private`.
        wanted: &'static str,
    },
    /// More than one key.
    #[error("more than one key: which one is meant is not clear")]
    SeveralKeys,
    /// Text behind the key.
    #[error("text after the end of the key")]
    TrailingText,
    /// A key of another type.
    #[error("a key of type {0}: only ECDSA keys on P-256, P-384 and P-521 are supported")]
    UnsupportedType(String),
    /// The ASN.1 is not that of a key, or the key is not one of its curve.
    #[error("malformed key: {0}")]
    Malformed(String),
    /// Encrypted, and no passphrase was given.
    #[error("the key is encrypted: its passphrase is needed")]
    Encrypted,
    /// Not the passphrase (or a damaged key: the two cannot be told apart).
    #[error("wrong passphrase, or a damaged key")]
    WrongPassphrase,
    /// Encrypted in a way that is not read.
    #[error(
        "the key is encrypted with {0}, which is not supported: convert it with `openssl pkcs8 -topk8`"
    )]
    UnsupportedEncryption(String),
    /// Deriving the key of the encryption would take too long, or too much memory.
    #[error("the key asks for {what}, more than the {limit} that are allowed")]
    TooCostly {
        /// What it asks for.
        what: String,
        /// How much is allowed.
        limit: String,
    },
}
