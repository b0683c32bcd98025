//! Names the type of a private key in the format of OpenSSH (`PROTOCOL.key`), which is not supported.

use super::KeyError;
use tensorseal_base::display::display_name;

/// The start of every such key.
const MAGIC: &[u8] = b"openssh-key-v1\0";

/// The types that have a PKCS#8 form which is supported.
const CONVERTIBLE: [&str; 3] =
    ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

/// Returns the error for a key: its type, if a conversion would not help.
pub(super) fn error(key: &[u8]) -> KeyError {
    match key_type(key) {
        None => KeyError::Malformed("not in the format of OpenSSH".to_owned()),
        Some(name) if CONVERTIBLE.contains(&name) => KeyError::OpenSsh,
        Some("ssh-ed25519") => KeyError::UnsupportedType("Ed25519".to_owned()),
        Some("ssh-rsa") => KeyError::UnsupportedType("RSA".to_owned()),
        Some("ssh-dss") => KeyError::UnsupportedType("DSA".to_owned()),
        Some(other) => KeyError::UnsupportedType(display_name(other)),
    }
}

/// Returns the type of the first key, which the file states in its unencrypted public part.
fn key_type(key: &[u8]) -> Option<&str> {
    let mut rest = key.strip_prefix(MAGIC)?;
    // The cipher, the key derivation and its options.
    for _ in 0..3 {
        (_, rest) = string(rest)?;
    }
    let (_number_of_keys, rest) = rest.split_first_chunk::<4>()?;
    let (public, _) = string(rest)?;
    let (name, _) = string(public)?;
    std::str::from_utf8(name).ok()
}

/// Splits off a string with its length of four bytes, most significant first.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}
