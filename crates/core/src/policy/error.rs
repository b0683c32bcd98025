//! What can be wrong with a policy, and where.

use super::toml_position::{line_column, path_at};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// A policy that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PolicyError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The path of the key, such as `signature.keys[1]`; empty: the document itself.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// Whether the policy asks for what this build cannot do.
    pub not_built_in: bool,
}

impl PolicyError {
    /// Something wrong at a place of a text.
    pub(super) fn at(text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let (line, column) = line_column(text, span.start);
        let key = path_at(text, span.start);
        Self { line, column, key, message: message.into(), not_built_in: false }
    }

    /// Something that the reader of TOML refused.
    pub(super) fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().trim_end().replace('\n', " ");
        Self::at(text, error.span().unwrap_or(0..0), message)
    }

    /// A check that this build does not have.
    pub(super) fn not_built_in(text: &str, span: Range<usize>, what: &str) -> Self {
        let message =
            format!("{what} is not built in: a check that cannot be made cannot be required");
        Self { not_built_in: true, ..Self::at(text, span, message) }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, key, message, .. } = self;
        write!(f, "line {line}, column {column}: ")?;
        match key.as_str() {
            "" => write!(f, "{message}"),
            key => write!(f, "{key}: {message}"),
        }
    }
}

/// A policy file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyReadError {
    /// It could not be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is larger than [`MAX_BYTES`](super::MAX_BYTES).
    #[error("{}: larger than 1 MiB, which no policy is", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no text.
    #[error("{}: not UTF-8 at byte {at}", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// First byte that is none.
        at: usize,
    },
    /// It is no policy.
    #[error("{}: {error}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: PolicyError,
    },
}
