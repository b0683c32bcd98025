//! The errors of signing.

use crate::seal::SealError;
use crate::verbs::ErrorKind;
use std::path::PathBuf;
use tensorseal_signing::{ManifestError, SignError, SignatureError};

/// An error that occurs only while signing a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The output path is a file of another kind.
    #[error("refusing to overwrite {}: not {what}", path.display())]
    Overwrites {
        /// The output path.
        path: PathBuf,
        /// The kind of file that may be overwritten, with its article.
        what: &'static str,
    },
    /// The output path is a directory, a link or a device.
    #[error("refusing to overwrite {}: not a regular file", .0.display())]
    NoRegularFile(PathBuf),
    /// The directory of the output path does not exist.
    #[error("cannot write {}: directory {} does not exist", path.display(), directory.display())]
    NoDirectory {
        /// The output path.
        path: PathBuf,
        /// The missing directory.
        directory: PathBuf,
    },
    /// Part of the model cannot be covered by a signature.
    #[error("{0}; a signature of this model could not be verified")]
    Uncovered(String),
    /// A checkpoint file is malformed.
    #[error("{0}; use --allow-malformed to sign it anyway")]
    Malformed(String),
    /// A file is a link, and links are not allowed.
    #[error(
        "{0} is a link: sign a copy without links, or use --allow-symlinks, which is then needed to verify as well"
    )]
    Link(String),
    /// A file is empty and therefore has no shards.
    #[error(
        "{0} is empty, and a signature over shards cannot list it: ignore it with --ignore-path, or sign without --shard-size"
    )]
    Empty(String),
    /// No valid manifest can be made of the files.
    #[error(transparent)]
    Manifest(ManifestError),
    /// The key cannot sign the statement.
    #[error(transparent)]
    Key(#[from] SignError),
    /// The new signature does not verify.
    #[error("the new signature does not verify: {0}")]
    Unverified(#[source] SignatureError),
    /// The manifest in the new signature cannot be read.
    #[error("the new signature cannot be read: {0}")]
    Unreadable(#[source] ManifestError),
    /// The manifest in the new signature differs from what was measured.
    #[error("the new signature does not contain what was measured")]
    OtherManifest,
    /// The seal to attest cannot be read.
    #[error("cannot attest {}: {source}", path.display())]
    Seal {
        /// The seal.
        path: PathBuf,
        /// The cause.
        source: SealError,
    },
    /// The seal to attest does not match the model.
    #[error(
        "{} does not match the model: {place}: {difference}; seal the model again before signing it",
        path.display()
    )]
    OtherSeal {
        /// The seal.
        path: PathBuf,
        /// The place of the first difference.
        place: String,
        /// The first difference.
        difference: String,
    },
    /// A claim should be attested, and none was given.
    #[error("give the claim to attest with --claim")]
    NoClaim,
    /// The attestations of an older signature cannot be removed.
    #[error("cannot remove the attestations of an older signature, {}: {source}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl SigningError {
    /// Returns the kind of the error.
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
