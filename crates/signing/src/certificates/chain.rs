//! Verifies chains of certificates from a leaf up to a root (RFC 5280, section 6.1).

use super::algorithm::{check_signature, key_type_name};
use super::extensions::KnownExtensions;
use super::{Certificate, CertificateError, MAX_DEPTH, MAX_SIGNATURES, name};
use jiff::Timestamp;

/// Verifies that a chain leads from `leaf` to a root among `trusted`, that the whole chain is valid at `time`, and that
/// the leaf may sign models. `others` are untrusted intermediates. Certificates in `trusted` that are not self-signed
/// serve as intermediates too, but no chain ends at them.
///
/// # Errors
/// Returns a [`CertificateError`] if there is no such chain. If several chains were tried, the error is that of the
/// chain that came closest to a root.
pub fn verify_chain(
    leaf: &Certificate,
    others: &[Certificate],
    trusted: &[Certificate],
    time: Timestamp,
) -> Result<(), CertificateError> {
    let (roots, intermediates): (Vec<_>, Vec<_>) =
        trusted.iter().partition(|trusted| trusted.is_root());
    if roots.is_empty() {
        return Err(CertificateError::NoRoot);
    }
    verify_leaf(leaf, time)?;
    if roots.contains(&leaf) {
        return Ok(());
    }
    let pool = others.iter().chain(intermediates).collect();
    let mut search = ChainSearch { roots, pool, time, signatures: 0, closest: None };
    if search.climb(&mut vec![leaf])? {
        return Ok(());
    }
    Err(search.closest.map_or(CertificateError::None, |(_, error)| error))
}

impl Certificate {
    /// Returns whether the certificate is self-issued and, as far as this can be checked, self-signed. The signature of
    /// a root proves nothing, so one with an unsupported algorithm is accepted.
    pub fn is_root(&self) -> bool {
        is_self_issued(self)
            && !matches!(check_signature(self, self), Err(CertificateError::BadSignature { .. }))
    }
}

fn is_self_issued(certificate: &Certificate) -> bool {
    let signed = certificate.parsed.tbs_certificate();
    name::names_match(signed.subject(), signed.issuer())
}

/// Checks that a certificate may sign models at `time`, whoever issued it.
///
/// # Errors
/// Returns [`CertificateError::Expired`] or [`CertificateError::NotYetValid`] if the certificate is not valid at
/// `time`, [`CertificateError::NotForSigning`] if its extensions do not allow signing, [`CertificateError::Key`] if
/// its key is not supported, and other variants if its extensions cannot be read.
pub fn verify_leaf(leaf: &Certificate, time: Timestamp) -> Result<(), CertificateError> {
    check_validity(leaf, time)?;
    if !KnownExtensions::read(leaf)?.may_sign() {
        return Err(CertificateError::NotForSigning { subject: leaf.subject() });
    }
    leaf.public_key()
        .map(drop)
        .map_err(|_| CertificateError::Key { subject: leaf.subject(), key: key_type_name(leaf) })
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

/// Checks that `issuer` may be above `below` intermediate certificates in a chain.
fn check_issuer(
    issuer: &Certificate,
    below: usize,
    time: Timestamp,
) -> Result<(), CertificateError> {
    let subject = || issuer.subject();
    check_validity(issuer, time)?;
    let extensions = KnownExtensions::read(issuer)?;
    let Some(constraints) = extensions.constraints.filter(|constraints| constraints.ca) else {
        return Err(CertificateError::NotAnAuthority { subject: subject() });
    };
    if let Some(allowed) = constraints.path_len_constraint
        && below > usize::from(allowed)
    {
        return Err(CertificateError::PathLength { subject: subject(), allowed, found: below });
    }
    if extensions.usage.is_some_and(|usage| !usage.key_cert_sign()) {
        return Err(CertificateError::NoCertSign { subject: subject() });
    }
    Ok(())
}

/// A depth-first search from a leaf to a root. Certificates of a bundle are hostile: there may be many with equal names
/// that sign each other in circles. Therefore the depth and the number of checked signatures are bounded.
struct ChainSearch<'a> {
    roots: Vec<&'a Certificate>,
    pool: Vec<&'a Certificate>,
    time: Timestamp,
    signatures: usize,
    /// The error of the chain that came closest to a root, and its rank.
    closest: Option<((usize, bool), CertificateError)>,
}

impl<'a> ChainSearch<'a> {
    /// Returns whether the path can be continued to a root.
    fn climb(&mut self, path: &mut Vec<&'a Certificate>) -> Result<bool, CertificateError> {
        let top = path[path.len() - 1];
        // Self-issued certificates do not count for path lengths (RFC 5280, section 4.2.1.9).
        let below = path[1..].iter().filter(|certificate| !is_self_issued(certificate)).count();
        let mut has_issuer = false;
        for at in 0..self.roots.len() + self.pool.len() {
            let is_root = at < self.roots.len();
            let issuer = if is_root { self.roots[at] } else { self.pool[at - self.roots.len()] };
            if path.contains(&issuer) || !issued(issuer, top) {
                continue;
            }
            has_issuer = true;
            self.signatures += 1;
            if self.signatures > MAX_SIGNATURES {
                return Err(CertificateError::TooMuchWork { subject: path[0].subject() });
            }
            let checked =
                check_signature(top, issuer).and_then(|()| check_issuer(issuer, below, self.time));
            if let Err(error) = checked {
                self.keep_error(path.len(), error);
                continue;
            }
            if is_root {
                return Ok(true);
            }
            if path.len() == MAX_DEPTH {
                self.keep_error(
                    path.len(),
                    CertificateError::TooDeep { subject: path[0].subject() },
                );
                continue;
            }
            path.push(issuer);
            if self.climb(path)? {
                return Ok(true);
            }
            path.pop();
        }
        if !has_issuer {
            self.keep_error(path.len(), dead_end(top));
        }
        Ok(false)
    }

    /// Keeps the error of the chain that came closest to a root. An invalid signature only means that the certificate was
    /// not the issuer, so any other error of the same depth is preferred.
    fn keep_error(&mut self, depth: usize, error: CertificateError) {
        let rank = (depth, !matches!(error, CertificateError::BadSignature { .. }));
        if self.closest.as_ref().is_none_or(|(closest, _)| rank > *closest) {
            self.closest = Some((rank, error));
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
