//! Chains of certificates (RFC 5280, section 6.1): from a leaf over issuers to a root.

use super::algorithm::{check_signature, kind_of_key};
use super::extensions::KnownExtensions;
use super::{Certificate, CertificateError, MAX_DEPTH, MAX_SIGNATURES, name};
use jiff::Timestamp;

/// Whether a chain leads from `leaf` to a root among `trusted`, valid as a whole at `time`, and the leaf
/// may sign models. `others` are certificates that nobody vouches for; those of `trusted` that are not
/// signed by themselves serve as intermediates too, but no chain ends in them.
///
/// # Errors
/// See [`CertificateError`]. When several chains were tried, the error is that of the one that came
/// furthest.
pub fn verify_chain(
    leaf: &Certificate,
    others: &[Certificate],
    trusted: &[Certificate],
    time: Timestamp,
) -> Result<(), CertificateError> {
    let (roots, helpers): (Vec<_>, Vec<_>) = trusted.iter().partition(|trusted| trusted.is_root());
    if roots.is_empty() {
        return Err(CertificateError::NoRoot);
    }
    verify_leaf(leaf, time)?;
    if roots.contains(&leaf) {
        return Ok(());
    }
    let pool = others.iter().chain(helpers).collect();
    let mut search = ChainSearch { roots, pool, time, signatures: 0, furthest: None };
    if search.climb(&mut vec![leaf])? {
        return Ok(());
    }
    Err(search.furthest.map_or(CertificateError::None, |(_, error)| error))
}

impl Certificate {
    /// Issued by its subject, and signed with its own key as far as that can be told: the signature of a
    /// root proves nothing, so one with an old algorithm is no reason to refuse it.
    pub fn is_root(&self) -> bool {
        is_self_issued(self)
            && !matches!(check_signature(self, self), Err(CertificateError::BadSignature { .. }))
    }
}

fn is_self_issued(certificate: &Certificate) -> bool {
    let signed = certificate.parsed.tbs_certificate();
    name::names_match(signed.subject(), signed.issuer())
}

/// Whether a certificate may sign models at `time`, wherever it comes from.
///
/// # Errors
/// See [`CertificateError`].
pub fn verify_leaf(leaf: &Certificate, time: Timestamp) -> Result<(), CertificateError> {
    check_validity(leaf, time)?;
    if !KnownExtensions::read(leaf)?.may_sign() {
        return Err(CertificateError::NotForSigning { subject: leaf.subject() });
    }
    leaf.public_key()
        .map(drop)
        .map_err(|_| CertificateError::Key { subject: leaf.subject(), key: kind_of_key(leaf) })
}

fn check_validity(certificate: &Certificate, time: Timestamp) -> Result<(), CertificateError> {
    let subject = || certificate.subject();
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    if time.as_second() < not_before.as_second() {
        return Err(CertificateError::NotYetValid { subject: subject(), not_before, time });
    }
    if time.as_second() > not_after.as_second() {
        return Err(CertificateError::Expired { subject: subject(), not_after, time });
    }
    Ok(())
}

/// Whether `issuer` may stand above `below` intermediate certificates.
fn check_issuer(
    issuer: &Certificate,
    below: usize,
    time: Timestamp,
) -> Result<(), CertificateError> {
    let subject = || issuer.subject();
    check_validity(issuer, time)?;
    let known = KnownExtensions::read(issuer)?;
    let Some(constraints) = known.constraints.filter(|constraints| constraints.ca) else {
        return Err(CertificateError::NotAnAuthority { subject: subject() });
    };
    if let Some(allowed) = constraints.path_len_constraint
        && below > usize::from(allowed)
    {
        return Err(CertificateError::PathLength { subject: subject(), allowed, found: below });
    }
    if known.usage.is_some_and(|usage| !usage.key_cert_sign()) {
        return Err(CertificateError::NoCertSign { subject: subject() });
    }
    Ok(())
}

/// A search upwards, depth first. Certificates of a bundle are hostile: there may be many, with equal
/// names, that sign each other in circles; so depth and signatures are bounded.
struct ChainSearch<'a> {
    roots: Vec<&'a Certificate>,
    pool: Vec<&'a Certificate>,
    time: Timestamp,
    signatures: usize,
    /// The error of the longest chain that failed, and its rank.
    furthest: Option<((usize, bool), CertificateError)>,
}

impl<'a> ChainSearch<'a> {
    /// Whether the path can be continued to a root.
    fn climb(&mut self, path: &mut Vec<&'a Certificate>) -> Result<bool, CertificateError> {
        let top = path[path.len() - 1];
        // Self-issued certificates do not count for path lengths (RFC 5280, section 4.2.1.9).
        let below = path[1..].iter().filter(|certificate| !is_self_issued(certificate)).count();
        let mut found = false;
        for at in 0..self.roots.len() + self.pool.len() {
            let is_root = at < self.roots.len();
            let issuer = if is_root { self.roots[at] } else { self.pool[at - self.roots.len()] };
            if path.contains(&issuer) || !issued(issuer, top) {
                continue;
            }
            found = true;
            self.signatures += 1;
            if self.signatures > MAX_SIGNATURES {
                return Err(CertificateError::TooMuchWork { subject: path[0].subject() });
            }
            let sound =
                check_signature(top, issuer).and_then(|()| check_issuer(issuer, below, self.time));
            if let Err(error) = sound {
                self.note(path.len(), error);
                continue;
            }
            if is_root {
                return Ok(true);
            }
            if path.len() == MAX_DEPTH {
                self.note(path.len(), CertificateError::TooDeep { subject: path[0].subject() });
                continue;
            }
            path.push(issuer);
            if self.climb(path)? {
                return Ok(true);
            }
            path.pop();
        }
        if !found {
            self.note(path.len(), dead_end(top));
        }
        Ok(false)
    }

    /// Keeps the error of the chain that came furthest; a signature by another key only says that the
    /// certificate was not the issuer, so any other error tells more.
    fn note(&mut self, depth: usize, error: CertificateError) {
        let rank = (depth, !matches!(error, CertificateError::BadSignature { .. }));
        if self.furthest.as_ref().is_none_or(|(furthest, _)| rank > *furthest) {
            self.furthest = Some((rank, error));
        }
    }
}

fn issued(issuer: &Certificate, subject: &Certificate) -> bool {
    let (above, below) = (issuer.parsed.tbs_certificate(), subject.parsed.tbs_certificate());
    name::names_match(above.subject(), below.issuer())
}

fn dead_end(top: &Certificate) -> CertificateError {
    if is_self_issued(top) {
        CertificateError::SelfSigned { subject: top.subject() }
    } else {
        CertificateError::NoIssuer { subject: top.subject(), issuer: top.issuer() }
    }
}
