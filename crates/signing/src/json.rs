//! A strict JSON reader: every conforming parser reads the accepted texts alike. They are UTF-8, of bounded depth
//! and without duplicate members.

use serde::de::DeserializeOwned;
use tensorseal_base::display::display_name;
use tensorseal_base::json::{self, DuplicateKeySink};

/// An error in a JSON text.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrictJsonError {
    /// The text is not JSON, or is nested too deeply.
    #[error(transparent)]
    Syntax(#[from] tensorseal_base::json::JsonError),
    /// An object has the same member twice. Parsers disagree about which of them counts.
    #[error("duplicate member '{}' in a JSON object", display_name(.0))]
    DuplicateMember(String),
    /// A member is missing or has the wrong type.
    #[error("{0}")]
    Shape(String),
}

/// Parses a value, and refuses duplicate members.
pub(super) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, StrictJsonError> {
    check(text)?;
    shape(text)
}

/// Checks that a text is one JSON value without duplicate members.
pub(super) fn check(text: &[u8]) -> Result<(), StrictJsonError> {
    let mut duplicates = Vec::new();
    json::parse(text, DuplicateKeySink(&mut duplicates))?;
    match duplicates.into_iter().next() {
        Some(name) => Err(StrictJsonError::DuplicateMember(name)),
        None => Ok(()),
    }
}

/// Deserialises a text that [`check`] accepted. Unknown members are ignored.
pub(super) fn shape<T: DeserializeOwned>(text: &[u8]) -> Result<T, StrictJsonError> {
    serde_json::from_slice(text)
        .map_err(|error| StrictJsonError::Shape(display_name(&error.to_string())))
}
