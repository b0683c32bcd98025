//! Reads trust anchors from files.

use super::Error;
use std::path::Path;
use tensorseal_base::regular_file;
use tensorseal_signing::{Certificate, PublicKey, TrustAnchors};
use zeroize::Zeroizing;

/// The maximum length of a file with keys or certificates, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// Reads a small file completely.
///
/// # Errors
/// Returns [`Error::Read`] if the file cannot be read, and [`Error::TooLong`] if it is longer than `max_len` bytes.
pub fn read_small(path: &Path, max_len: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let bytes = read_start(path, max_len)?;
    match bytes.len() as u64 > max_len {
        true => Err(Error::TooLong { path: path.to_owned(), limit: max_len }),
        false => Ok(bytes),
    }
}

/// Reads the start of a file: up to `max_len` bytes and one more, from which the caller sees that the file is longer.
///
/// # Errors
/// Returns [`Error::Read`] if the file cannot be read.
pub fn read_start(path: &Path, max_len: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    regular_file::read_at_most(path, max_len)
        .map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Reads a public key in PEM as a trust anchor.
///
/// # Errors
/// Returns an error if the file cannot be read, or contains no public key.
pub fn read_key(path: &Path) -> Result<TrustAnchors, Error> {
    let key = PublicKey::from_pem(&read_small(path, MAX_FILE)?);
    key.map(TrustAnchors::Key).map_err(|source| Error::Key { path: path.to_owned(), source })
}

/// Reads root certificates in PEM as trust anchors.
///
/// # Errors
/// Returns an error if a file cannot be read, or contains no certificate.
pub fn read_roots(paths: &[impl AsRef<Path>]) -> Result<TrustAnchors, Error> {
    Ok(TrustAnchors::Roots(read_certificates(paths)?))
}

/// Reads all certificates in some files.
///
/// # Errors
/// Returns an error if a file cannot be read, or contains no certificate.
pub fn read_certificates(paths: &[impl AsRef<Path>]) -> Result<Vec<Certificate>, Error> {
    let mut all = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let found = Certificate::parse_all(&read_small(path, MAX_FILE)?);
        all.extend(found.map_err(|source| Error::Certificate { path: path.to_owned(), source })?);
    }
    Ok(all)
}
