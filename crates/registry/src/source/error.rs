//! Errors of sources.

use tensorseal_format::{OpenError, RemoteError};

/// An error while a source is listed or a model is read from it. The messages contain no credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The name of the source or its settings are not valid.
    #[error("{source_name}: {reason}")]
    Invalid {
        /// The name of the source, without credentials.
        source_name: String,
        /// The reason.
        reason: String,
    },
    /// The source did not give a usable answer, even after retries.
    #[error("{place}: {reason}")]
    Unreachable {
        /// The requested model or file, without credentials.
        place: String,
        /// The reason.
        reason: String,
    },
    /// A model changed after it was listed or while it was read.
    #[error("{place}: changed while it was being read ({what}): the next scan will retry")]
    Changed {
        /// The model or file.
        place: String,
        /// The change that was seen.
        what: String,
    },
    /// A local file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl SourceError {
    /// Converts the error of a remote request for `place`.
    pub(crate) fn at(place: &str, error: RemoteError) -> Self {
        let place = place.to_owned();
        match error {
            RemoteError::Changed(what) => Self::Changed { place, what },
            RemoteError::Unavailable(reason) => Self::Unreachable { place, reason },
        }
    }
}
