use super::super::pem::PemError;
use jiff::Timestamp;
use tensorseal_base::display::display_name;

/// An error in a certificate or in a chain of certificates. Certificates are identified by their subjects.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The file is neither PEM nor DER.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A PEM block is not a certificate.
    #[error("unexpected PEM block '{}': expected certificates", display_name(.0))]
    Label(String),
    /// The bytes are not a certificate.
    #[error("not a certificate (X.509): {0}")]
    Malformed(String),
    /// The certificate is too long.
    #[error("the certificate has {0} bytes, more than the limit of {limit}", limit = super::MAX_DER)]
    TooLong(usize),
    /// There are too many certificates.
    #[error("found {0} certificates, more than the limit of {limit}", limit = super::MAX_COUNT)]
    TooMany(usize),
    /// There is no certificate.
    #[error("no certificate")]
    None,

    /// None of the trusted certificates is a root.
    #[error(
        "none of the trusted certificates is a root: add the root (an intermediate alone is not enough)"
    )]
    NoRoot,
    /// The issuer of the last certificate of the chain is missing.
    #[error("found no trusted certificate of {issuer}, the issuer of {subject}")]
    NoIssuer {
        /// The last certificate of the chain.
        subject: String,
        /// The missing issuer.
        issuer: String,
    },
    /// The chain ends with a self-signed certificate that is not trusted.
    #[error("the certificate of {subject} is self-signed and is not a trusted root")]
    SelfSigned {
        /// The subject of the certificate.
        subject: String,
    },
    /// The chain is too long.
    #[error("the chain above {subject} is longer than {limit} certificates", limit = super::MAX_DEPTH)]
    TooDeep {
        /// The leaf.
        subject: String,
    },
    /// The search for a chain needs too many signature checks.
    #[error("finding a chain for {subject} needs more than {limit} signature checks", limit = super::MAX_SIGNATURES)]
    TooMuchWork {
        /// The leaf.
        subject: String,
    },
    /// The issuer did not sign the certificate.
    #[error("the certificate of {subject} is not signed by the key of {issuer}")]
    BadSignature {
        /// The subject of the certificate.
        subject: String,
        /// The issuer that the certificate names.
        issuer: String,
    },
    /// The signature algorithm is broken or unknown.
    #[error("the certificate of {subject} is signed with {algorithm}, which is not accepted")]
    Algorithm {
        /// The subject of the certificate.
        subject: String,
        /// The signature algorithm.
        algorithm: String,
    },
    /// The two members that name the signature algorithm disagree (RFC 5280, section 4.1.1.2).
    #[error("the certificate of {subject} names two signature algorithms")]
    TwoAlgorithms {
        /// The subject of the certificate.
        subject: String,
    },
    /// The type or size of a key is not accepted.
    #[error("the key of {subject} is {key}, which is not accepted")]
    Key {
        /// The subject of the certificate.
        subject: String,
        /// The description of the key.
        key: String,
    },
    /// The certificate has expired.
    #[error("the certificate of {subject} expired at {not_after} (time of the check: {time})")]
    Expired {
        /// The subject of the certificate.
        subject: String,
        /// The last second at which the certificate is valid.
        not_after: Timestamp,
        /// The time of the check.
        time: Timestamp,
    },
    /// The certificate is not valid yet.
    #[error(
        "the certificate of {subject} is not valid before {not_before} (time of the check: {time})"
    )]
    NotYetValid {
        /// The subject of the certificate.
        subject: String,
        /// The first second at which the certificate is valid.
        not_before: Timestamp,
        /// The time of the check.
        time: Timestamp,
    },
    /// An issuer is not a certificate authority: its BasicConstraints have no CA (RFC 5280, section 4.2.1.9).
    #[error("{subject} issued a certificate of the chain, but is not a certificate authority")]
    NotAnAuthority {
        /// The issuer.
        subject: String,
    },
    /// More intermediate certificates are below an issuer than it allows.
    #[error(
        "{subject} allows {allowed} intermediate certificates below it, but the chain has {found}"
    )]
    PathLength {
        /// The issuer.
        subject: String,
        /// The path length constraint of the issuer.
        allowed: u8,
        /// The number of intermediate certificates below the issuer.
        found: usize,
    },
    /// The KeyUsage of an issuer lacks keyCertSign.
    #[error("{subject} may not sign certificates: its KeyUsage lacks keyCertSign")]
    NoCertSign {
        /// The issuer.
        subject: String,
    },
    /// The extensions of a leaf do not allow signing.
    #[error(
        "{subject} may not sign: its certificate needs the KeyUsage digitalSignature or, without a KeyUsage, the extended key usage codeSigning"
    )]
    NotForSigning {
        /// The leaf.
        subject: String,
    },
    /// A critical extension is not supported (RFC 5280, section 4.2).
    #[error("the certificate of {subject} has the unsupported critical extension {extension}")]
    CriticalExtension {
        /// The subject of the certificate.
        subject: String,
        /// The name or object identifier of the extension.
        extension: String,
    },
    /// An extension is malformed or occurs twice.
    #[error("the certificate of {subject} has a malformed or duplicate extension {extension}")]
    Extension {
        /// The subject of the certificate.
        subject: String,
        /// The name or object identifier of the extension.
        extension: String,
    },
}
