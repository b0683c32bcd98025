use super::super::pem::PemError;
use tensorseal_base::display::display_name;

/// An error in a key.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not PEM (RFC 7468), or is truncated.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The file holds a private key, and a public key is needed.
    #[error(
        "found a private key, expected the public key: use the file with -----BEGIN PUBLIC KEY-----"
    )]
    PrivateKey,
    /// The file holds a public key, and a private key is needed.
    #[error("found a public key, expected the private key")]
    PublicKey,
    /// The file holds a certificate, and a key is needed.
    #[error("found a certificate, expected a key")]
    Certificate,
    /// The PEM block has an unsupported label.
    #[error("unsupported PEM block '{}': expected a {expected} key", display_name(label))]
    Label {
        /// The label of the block.
        label: String,
        /// The kind of key that is needed: `public` or `private`.
        expected: &'static str,
    },
    /// The file holds more than one key.
    #[error("found more than one key, expected exactly one")]
    SeveralKeys,
    /// Text follows the key.
    #[error("unexpected text after the key")]
    TrailingText,
    /// The type of the key is not supported.
    #[error("unsupported key type {0}: only ECDSA keys on P-256, P-384 and P-521 are supported")]
    UnsupportedType(String),
    /// The ASN.1 is malformed, or the key is not valid on its curve.
    #[error("malformed key: {0}")]
    Malformed(String),
    /// The key is encrypted, and no passphrase was given.
    #[error("the key is encrypted: a passphrase is required")]
    Encrypted,
    /// The passphrase is wrong, or the key is damaged: decryption cannot distinguish the two.
    #[error("wrong passphrase or damaged key")]
    WrongPassphrase,
    /// The encryption scheme is not supported.
    #[error(
        "the key is encrypted with {0}, which is not supported: convert it with `openssl pkcs8 -topk8 -in KEY -out NEW`"
    )]
    UnsupportedEncryption(String),
    /// The key is of a supported type, but in the format of OpenSSH.
    #[error(
        "an OpenSSH private key is not supported: convert a copy with `ssh-keygen -p -m PKCS8 -f COPY`"
    )]
    OpenSsh,
    /// Deriving the decryption key would take too much time or memory.
    #[error("the key needs {what} to decrypt, more than the limit of {limit}")]
    TooCostly {
        /// The cost of the derivation.
        what: String,
        /// The largest cost that is accepted.
        limit: String,
    },
}
