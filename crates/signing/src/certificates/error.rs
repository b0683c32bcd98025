use super::super::pem::PemError;
use jiff::Timestamp;
use tensorseal_base::display::display_name;

/// Why a certificate cannot be read, or a chain of certificates not be trusted. Certificates are named
/// by their subjects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Neither PEM nor DER of certificates.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A PEM block of something else.
    #[error("a PEM block labelled '{}' where certificates are wanted", display_name(.0))]
    Label(String),
    /// Not a certificate.
    #[error("not a certificate (X.509): {0}")]
    Malformed(String),
    /// Longer than certificates are.
    #[error("a certificate of {0} bytes: none is longer than {limit}", limit = super::MAX_DER)]
    TooLong(usize),
    /// More than a chain could need.
    #[error("{0} certificates: more than the {limit} that are looked at", limit = super::MAX_COUNT)]
    TooMany(usize),
    /// No certificate at all.
    #[error("no certificate")]
    None,

    /// None of the certificates of the operator is a root.
    #[error(
        "none of the trusted certificates is a root: give the root (an intermediate alone is not enough)"
    )]
    NoRoot,
    /// The chain ends without a root.
    #[error("no trusted certificate of the issuer {issuer} of {subject}")]
    NoIssuer {
        /// The last certificate of the chain.
        subject: String,
        /// Who is missing.
        issuer: String,
    },
    /// Signed by itself, and not one of the roots.
    #[error("{subject} is signed by itself and is not among the trusted roots")]
    SelfSigned {
        /// Whose certificate.
        subject: String,
    },
    /// More certificates than a chain may have.
    #[error("the chain above {subject} is longer than {limit} certificates", limit = super::MAX_DEPTH)]
    TooDeep {
        /// The leaf.
        subject: String,
    },
    /// Too many ways lead up from the leaf.
    #[error("the chain above {subject} takes more than {limit} signatures to find", limit = super::MAX_SIGNATURES)]
    TooMuchWork {
        /// The leaf.
        subject: String,
    },
    /// Signed by someone else than its issuer.
    #[error("the certificate of {subject} is not signed by the key of {issuer}")]
    BadSignature {
        /// Whose certificate.
        subject: String,
        /// Who should have signed it.
        issuer: String,
    },
    /// Signed with an algorithm that is broken or not known.
    #[error("the certificate of {subject} is signed with {algorithm}, which is refused")]
    Algorithm {
        /// Whose certificate.
        subject: String,
        /// Its signature algorithm.
        algorithm: String,
    },
    /// The two places that name the algorithm disagree (RFC 5280, section 4.1.1.2).
    #[error("the certificate of {subject} names two signature algorithms")]
    TwoAlgorithms {
        /// Whose certificate.
        subject: String,
    },
    /// A key that cannot check the signature: its type, its size.
    #[error("the key of {subject} is {key}, which is refused")]
    Key {
        /// Whose key.
        subject: String,
        /// What it is.
        key: String,
    },
    /// Not valid any more.
    #[error("the certificate of {subject} expired at {not_after}; it was checked for {time}")]
    Expired {
        /// Whose certificate.
        subject: String,
        /// Last second of its validity.
        not_after: Timestamp,
        /// Time of the check.
        time: Timestamp,
    },
    /// Not valid yet.
    #[error(
        "the certificate of {subject} is valid from {not_before} on; it was checked for {time}"
    )]
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// First second of its validity.
        not_before: Timestamp,
        /// Time of the check.
        time: Timestamp,
    },
    /// An issuer that may not issue: BasicConstraints without CA (RFC 5280, section 4.2.1.9).
    #[error("{subject} is no certificate authority, yet issued a certificate of the chain")]
    NotAnAuthority {
        /// The issuer.
        subject: String,
    },
    /// More certificates below an issuer than it may have.
    #[error("{subject} allows {allowed} intermediate certificates below it; the chain has {found}")]
    PathLength {
        /// The issuer.
        subject: String,
        /// Its path length constraint.
        allowed: u8,
        /// What there is.
        found: usize,
    },
    /// An issuer whose KeyUsage lacks keyCertSign.
    #[error("{subject} may not sign certificates (KeyUsage without keyCertSign)")]
    NoCertSign {
        /// The issuer.
        subject: String,
    },
    /// A leaf that is not made for signing.
    #[error(
        "{subject} may not sign: KeyUsage digitalSignature, or without KeyUsage the extended key usage codeSigning, is needed"
    )]
    NotForSigning {
        /// The leaf.
        subject: String,
    },
    /// A critical extension that is not known (RFC 5280, section 4.2).
    #[error(
        "the certificate of {subject} has the critical extension {extension}, which is not supported"
    )]
    CriticalExtension {
        /// Whose certificate.
        subject: String,
        /// Name or object identifier.
        extension: String,
    },
    /// An extension that occurs twice, or cannot be read.
    #[error("the certificate of {subject} has a malformed extension {extension}")]
    Extension {
        /// Whose certificate.
        subject: String,
        /// Name or object identifier.
        extension: String,
    },
}
