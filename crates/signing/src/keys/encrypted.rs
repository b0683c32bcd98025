//! Decrypts private keys (PKCS#8 `EncryptedPrivateKeyInfo`, RFC 5958 section 3). The scheme and its cost are checked
//! before a passphrase is tried.

use super::KeyError;
use pkcs8::der::{Decode, Error, ErrorKind, Reader, SliceReader};
use pkcs8::pkcs5::pbes2::{Kdf, PBES2_OID, Pbkdf2Prf};
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{EncryptedPrivateKeyInfoRef, ObjectIdentifier, SecretDocument};

/// The largest PBKDF2 iteration count: the one that RFC 8018, section 4.2, recommends for critical keys.
const MAX_ITERATIONS: u32 = 10_000_000;

/// The largest scrypt N·r·p. It takes 128 bytes each, 1 GiB in all, and some seconds (RFC 7914, section 2).
const MAX_SCRYPT: u64 = 1 << 23;

/// Decrypts an encrypted private key in DER.
pub(super) fn decrypt(der: &[u8], passphrase: &[u8]) -> Result<SecretDocument, KeyError> {
    let failed = |error: Error| match error.kind() {
        ErrorKind::OidUnknown { oid } => KeyError::UnsupportedEncryption(scheme_name(oid)),
        _ => KeyError::Malformed(error.to_string()),
    };
    let scheme = scheme(der).map_err(failed)?;
    if scheme != PBES2_OID {
        return Err(KeyError::UnsupportedEncryption(scheme_name(scheme)));
    }
    let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(failed)?;
    if let Some(parameters) = info.encryption_algorithm.pbes2() {
        check_cost(&parameters.kdf)?;
    }
    info.decrypt(passphrase).map_err(|_| KeyError::WrongPassphrase)
}

/// Returns the object identifier of the encryption scheme.
fn scheme(der: &[u8]) -> Result<ObjectIdentifier, Error> {
    SliceReader::new(der)?.sequence(|reader| {
        let algorithm = AlgorithmIdentifierRef::decode(reader)?;
        reader.drain(reader.remaining_len())?;
        Ok(algorithm.oid)
    })
}

fn check_cost(kdf: &Kdf) -> Result<(), KeyError> {
    match kdf {
        Kdf::Pbkdf2(parameters) => {
            if parameters.prf == Pbkdf2Prf::HmacWithSha1 {
                return Err(KeyError::UnsupportedEncryption("PBKDF2 over SHA-1".to_owned()));
            }
            if parameters.iteration_count == 0 {
                return Err(KeyError::Malformed("a PBKDF2 iteration count of 0".to_owned()));
            }
            if parameters.iteration_count > MAX_ITERATIONS {
                return Err(KeyError::TooCostly {
                    what: format!("{} PBKDF2 iterations", parameters.iteration_count),
                    limit: MAX_ITERATIONS.to_string(),
                });
            }
        }
        Kdf::Scrypt(parameters) => {
            let (n, r, p) = (
                parameters.cost_parameter,
                u64::from(parameters.block_size),
                u64::from(parameters.parallelization),
            );
            if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
                return Err(KeyError::Malformed("invalid scrypt parameters".to_owned()));
            }
            if n.checked_mul(r * p).is_none_or(|cost| cost > MAX_SCRYPT) {
                return Err(KeyError::TooCostly {
                    what: format!("scrypt with N·r·p = {n}·{r}·{p}"),
                    limit: MAX_SCRYPT.to_string(),
                });
            }
        }
        other => return Err(KeyError::UnsupportedEncryption(scheme_name(other.oid()))),
    }
    Ok(())
}

fn scheme_name(oid: ObjectIdentifier) -> String {
    let name = match oid.to_string().as_str() {
        "1.2.840.113549.1.5.1" => "PBES1 (MD2 and DES)",
        "1.2.840.113549.1.5.3" => "PBES1 (MD5 and DES)",
        "1.2.840.113549.1.5.4" => "PBES1 (MD2 and RC2)",
        "1.2.840.113549.1.5.6" => "PBES1 (MD5 and RC2)",
        "1.2.840.113549.1.5.10" => "PBES1 (SHA-1 and DES)",
        "1.2.840.113549.1.5.11" => "PBES1 (SHA-1 and RC2)",
        "1.2.840.113549.1.12.1.3" => "PKCS#12 (SHA-1 and triple DES)",
        "1.2.840.113549.3.7" => "triple DES",
        "1.3.14.3.2.7" => "DES",
        other => return format!("algorithm {other}"),
    };
    name.to_owned()
}
