//! JSON that must mean the same to everyone who reads it: UTF-8, not too deep, no member twice.

use serde::de::DeserializeOwned;
use tensorseal_base::display::display_name;
use tensorseal_base::json::{self, DuplicateKeySink};

/// Why a text is not the JSON that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrictJsonError {
    /// Not JSON, or nested too deeply.
    #[error(transparent)]
    Syntax(#[from] tensorseal_base::json::JsonError),
    /// A member that occurs twice in an object: which one counts would depend on the reader.
    #[error("the member '{}' occurs twice in one object", display_name(.0))]
    DuplicateMember(String),
    /// A member is missing, or has another type.
    #[error("{0}")]
    Shape(String),
}

/// Reads a value.
pub(super) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, StrictJsonError> {
    check(text)?;
    shape(text)
}

/// Whether a text is one JSON value in which no member occurs twice.
pub(super) fn check(text: &[u8]) -> Result<(), StrictJsonError> {
    let mut duplicates = Vec::new();
    json::parse(text, DuplicateKeySink(&mut duplicates))?;
    match duplicates.into_iter().next() {
        Some(name) => Err(StrictJsonError::DuplicateMember(name)),
        None => Ok(()),
    }
}

/// Reads a value from a text that was [checked](check). Members that are not wanted are passed over.
pub(super) fn shape<T: DeserializeOwned>(text: &[u8]) -> Result<T, StrictJsonError> {
    serde_json::from_slice(text)
        .map_err(|error| StrictJsonError::Shape(display_name(&error.to_string())))
}
