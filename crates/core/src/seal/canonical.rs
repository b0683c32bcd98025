//! Canonical JSON: equal values always give equal bytes.
//!
//! Keys are sorted (the structs of [`super::document`] declare their fields in that order). Integral values are written
//! as integers, other numbers as the shortest decimal that reads back to the same f64, and values that are not finite as
//! null. There is no white space except for one newline at the end.
//!
//! This is close to RFC 8785 (JCS), but differs from it: JCS writes 1e-6 as `0.000001` and every integer as a double, so
//! that 9007199254740993 would become 9007199254740992. A JCS crate would change the bytes of existing seals, and sizes
//! and offsets would lose digits.

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io::{self, Write};
pub use tensorseal_base::hex::{hex, unhex, unhex_to};

/// The largest integer that every JSON reader keeps exactly: 2^53.
pub const MAX_INTEGER: u64 = 1 << 53;

/// A real number in canonical JSON.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Real(pub f64);

impl Serialize for Real {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.0;
        if !value.is_finite() {
            serializer.serialize_none()
        } else if libm::trunc(value) == value && libm::fabs(value) <= MAX_INTEGER as f64 {
            // This turns negative zero into zero.
            serializer.serialize_i64(value as i64)
        } else {
            serializer.serialize_f64(value)
        }
    }
}

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // This does not use `Option`, which would accept a missing member as null.
        struct RealVisitor;
        impl Visitor<'_> for RealVisitor {
            type Value = Real;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or null")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Real, E> {
                Ok(Real(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Real, E> {
                Ok(Real(value as f64))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Real, E> {
                Ok(Real(value as f64))
            }

            fn visit_unit<E>(self) -> Result<Real, E> {
                Ok(Real(f64::NAN))
            }

            fn visit_none<E>(self) -> Result<Real, E> {
                Ok(Real(f64::NAN))
            }
        }
        deserializer.deserialize_any(RealVisitor)
    }
}

/// Writes `value` as one line of JSON to `out`.
///
/// # Errors
/// Returns an error if `out` fails.
pub fn write(value: &impl Serialize, mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")
}

/// Serde of a 32-byte digest as hexadecimal.
pub mod digest {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Serialises a digest as 64 hexadecimal digits.
    ///
    /// # Errors
    /// Returns the error of the serializer.
    pub fn serialize<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::hex(digest))
    }

    /// Deserialises a digest from 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// Returns an error if the value is not a string of 64 lower-case hexadecimal digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        super::unhex(&text)
            .ok_or_else(|| D::Error::custom("a digest is 64 lower-case hexadecimal digits"))
    }
}

/// Serde of an optional 32-byte digest as hexadecimal. The member is left out if there is no digest.
pub mod optional_digest {
    use serde::{Deserializer, Serializer};

    /// Serialises a digest as 64 hexadecimal digits, or as null.
    ///
    /// # Errors
    /// Returns the error of the serializer.
    pub fn serialize<S: Serializer>(
        digest: &Option<[u8; 32]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match digest {
            Some(digest) => super::digest::serialize(digest, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Deserialises the digest of a member that is present.
    ///
    /// # Errors
    /// Returns an error if the value is not a string of 64 lower-case hexadecimal digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; 32]>, D::Error> {
        super::digest::deserialize(deserializer).map(Some)
    }
}

/// Serde of the chaining values of blocks as base64 of their concatenation.
pub mod blocks {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Serialises chaining values as one base64 string.
    ///
    /// # Errors
    /// Returns the error of the serializer.
    pub fn serialize<S: Serializer>(blocks: &[[u8; 32]], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(blocks.as_flattened()))
    }

    /// Deserialises chaining values from one base64 string.
    ///
    /// # Errors
    /// Returns an error if the value is not padded base64 or its length is not a multiple of 32 bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<[u8; 32]>, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = STANDARD
            .decode(text.as_bytes())
            .map_err(|_| D::Error::custom("`blocks` is not padded base64"))?;
        match bytes.as_chunks::<32>() {
            (blocks, []) => Ok(blocks.to_vec()),
            _ => Err(D::Error::custom("the length of `blocks` is not a multiple of 32 bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: f64) -> String {
        serde_json::to_string(&Real(value)).unwrap()
    }

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(text(3.0), "3");
        assert_eq!(text(-0.0), "0");
        assert_eq!(text(0.1), "0.1");
        assert_eq!(text(f64::NAN), "null");
        assert_eq!(text(f64::NEG_INFINITY), "null");
    }

    proptest! {
        #[test]
        fn numbers_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let back: Real = serde_json::from_str(&text(value)).unwrap();
            prop_assert!(back.0 == value || (!value.is_finite() && back.0.is_nan()));
        }

        #[test]
        fn digests_read_back(bytes in any::<[u8; 32]>()) {
            prop_assert_eq!(unhex(&hex(&bytes)), Some(bytes));
            prop_assert_eq!(unhex(&hex(&bytes[..31])), None);
        }
    }
}
