//! Why a source cannot be listed, or a model of it not be read.

use tensorseal_format::{OpenError, RemoteError};

/// See the module. None of them tells a credential.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The name of the source cannot be understood.
    #[error("{source_name}: {why}")]
    Invalid {
        /// What was given, without credentials.
        source_name: String,
        /// Why.
        why: String,
    },
    /// It did not answer as it should, also when asked again.
    #[error("{place}: {why}")]
    Unreachable {
        /// What was asked for, without credentials.
        place: String,
        /// What happened.
        why: String,
    },
    /// A model changed between the list and the read, or while it was being read.
    #[error("{place}: changed while it was being read ({what}); the next scan looks again")]
    Changed {
        /// The file.
        place: String,
        /// What was seen.
        what: String,
    },
    /// Of a file system.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl SourceError {
    /// Of something that was asked of another machine.
    pub(crate) fn at(place: &str, error: RemoteError) -> Self {
        let place = place.to_owned();
        match error {
            RemoteError::Changed(what) => Self::Changed { place, what },
            RemoteError::Unavailable(why) => Self::Unreachable { place, why },
        }
    }
}
