//! Keys and certificates, from files.

use super::Error;
use std::path::Path;
use tensorseal_base::regular_file;
use tensorseal_signing::{Certificate, PublicKey, TrustAnchors};
use zeroize::Zeroizing;

/// The longest file of keys or certificates that is read.
pub const MAX_FILE: u64 = 1 << 20;

/// Reads a small file whole.
///
/// # Errors
/// It cannot be read, or is longer than `most` bytes.
pub fn read_small(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let bytes = read_start(path, most)?;
    match bytes.len() as u64 > most {
        true => Err(Error::TooLong { path: path.to_owned(), most }),
        false => Ok(bytes),
    }
}

/// Reads a file, and of a longer one than `most` bytes so much that it can be told.
///
/// # Errors
/// It cannot be read.
pub fn read_start(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    regular_file::read_at_most(path, most)
        .map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Trusts the holder of the key in this file, PEM.
///
/// # Errors
/// The file cannot be read, or is no public key.
pub fn read_key(path: &Path) -> Result<TrustAnchors, Error> {
    let key = PublicKey::from_pem(&read_small(path, MAX_FILE)?);
    key.map(TrustAnchors::Key).map_err(|source| Error::Key { path: path.to_owned(), source })
}

/// Trusts whoever has a certificate of one of the roots in these files, PEM.
///
/// # Errors
/// A file cannot be read, or holds no certificate.
pub fn read_roots(paths: &[impl AsRef<Path>]) -> Result<TrustAnchors, Error> {
    Ok(TrustAnchors::Roots(read_certificates(paths)?))
}

/// All certificates of some files.
///
/// # Errors
/// A file cannot be read, or holds no certificate.
pub fn read_certificates(paths: &[impl AsRef<Path>]) -> Result<Vec<Certificate>, Error> {
    let mut all = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let found = Certificate::parse_all(&read_small(path, MAX_FILE)?);
        all.extend(found.map_err(|source| Error::Certificate { path: path.to_owned(), source })?);
    }
    Ok(all)
}
