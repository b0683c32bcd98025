//! Errors in policies, with their position.

use super::toml_position::{line_column, path_at};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// An error in the text of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PolicyError {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// The path of the key, such as `signature.keys[1]`; empty for the document itself.
    pub key: String,
    /// The message.
    pub message: String,
    /// Whether the policy requires something that this build does not support.
    pub not_built_in: bool,
}

impl PolicyError {
    /// Creates an error at a position in a text.
    pub(super) fn at(text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let (line, column) = line_column(text, span.start);
        let key = path_at(text, span.start);
        Self { line, column, key, message: message.into(), not_built_in: false }
    }

    /// Converts an error of the TOML parser.
    pub(super) fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().trim_end().replace('\n', " ");
        Self::at(text, error.span().unwrap_or(0..0), message)
    }

    /// Creates an error about a check that this build does not support.
    pub(super) fn not_built_in(text: &str, span: Range<usize>, what: &str) -> Self {
        let message = format!("{what} is not built in, so a policy cannot require it");
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

/// An error while reading a policy file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyReadError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is larger than [`MAX_BYTES`](super::MAX_BYTES).
    #[error("{}: larger than the limit of 1 MiB for policies", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not UTF-8 text.
    #[error("{}: not UTF-8 at byte {at}", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The offset of the first invalid byte.
        at: usize,
    },
    /// The file is not a valid policy.
    #[error("{}: {error}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// The error in the text.
        error: PolicyError,
    },
}
