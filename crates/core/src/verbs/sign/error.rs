//! Why a model is not signed.

use crate::seal::SealError;
use crate::verbs::ErrorKind;
use std::path::PathBuf;
use tensorseal_signing::{ManifestError, SignError, SignatureError};

/// Why a model is not signed, besides what ends any verb.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// It would take the place of something else.
    #[error("{}: is there and is no {what}: it would be overwritten", path.display())]
    Overwrites {
        /// The place.
        path: PathBuf,
        /// What should have been there.
        what: &'static str,
    },
    /// The place is a directory, a link or a device.
    #[error("{}: is there and is not a regular file", .0.display())]
    NoRegularFile(PathBuf),
    /// The place is in no directory.
    #[error("{}: there is no directory {}", path.display(), directory.display())]
    NoDirectory {
        /// The place.
        path: PathBuf,
        /// What is not there.
        directory: PathBuf,
    },
    /// Something in the model that a signature cannot say.
    #[error("{0}; nobody could verify a signature of it")]
    Uncovered(String),
    /// A file is malformed as a checkpoint.
    #[error("{0}; --allow-malformed signs it all the same")]
    Malformed(String),
    /// A link, where none may be followed.
    #[error(
        "{0} is a link: sign a copy without links, or with --allow-symlinks, which whoever verifies must give, too"
    )]
    Link(String),
    /// An empty file has no shard.
    #[error(
        "{0} is empty, and a signature of shards cannot list it: ignore it with --ignore-path, or sign without --shard-size"
    )]
    Empty(String),
    /// The list of files is none that a signature may have.
    #[error(transparent)]
    Manifest(ManifestError),
    /// The key does not sign it.
    #[error(transparent)]
    Key(#[from] SignError),
    /// What was made was read again, as everybody will, and does not verify.
    #[error("the signature that was made does not verify: {0}")]
    Unverified(#[source] SignatureError),
    /// Or cannot be read.
    #[error("what was signed cannot be read: {0}")]
    Unreadable(#[source] ManifestError),
    /// Or says something else.
    #[error("what was signed is not what was measured")]
    OtherManifest,
    /// The seal that is to be attested cannot be read.
    #[error("cannot attest {}: {source}", path.display())]
    Seal {
        /// The seal.
        path: PathBuf,
        /// Why.
        source: SealError,
    },
    /// The seal that is to be attested is of something else.
    #[error(
        "{} is not the seal of the model as it is: {place}: {difference}; seal it again before it is signed",
        path.display()
    )]
    OtherSeal {
        /// The seal.
        path: PathBuf,
        /// Where the first difference is.
        place: String,
        /// What it is.
        difference: String,
    },
    /// A claim is to be attested, and none was named.
    #[error("name the claim to attest with --claim")]
    NoClaim,
    /// The attestations of an older signature cannot be removed.
    #[error("cannot remove {}, of an older signature: {source}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl SigningError {
    /// What kind it is of.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Overwrites { .. }
            | Self::NoRegularFile(_)
            | Self::Link(_)
            | Self::Empty(_)
            | Self::Manifest(_)
            | Self::Key(_)
            | Self::Seal { .. }
            | Self::NoClaim => ErrorKind::Usage,
            Self::NoDirectory { .. }
            | Self::Uncovered(_)
            | Self::Malformed(_)
            | Self::Unverified(_)
            | Self::Unreadable(_)
            | Self::OtherManifest
            | Self::OtherSeal { .. }
            | Self::Remove { .. } => ErrorKind::Incomplete,
        }
    }
}
