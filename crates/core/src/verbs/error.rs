//! Why a verb ends without a report.

use super::sign::SigningError;
use crate::audit::extraction::ExtractError;
use crate::examine::ExamineError;
use crate::seal::SealError;
use crate::watermark::claim::ClaimError;
use crate::watermark::detect::DetectError;
use crate::watermark::key;
use std::io;
use std::path::PathBuf;
use tensorseal_engine::RunError;
use tensorseal_engine::stream::copy::CopyError;
use tensorseal_format::OpenError;
use tensorseal_signing::{CertificateError, KeyError, ManifestError};

/// What kind of end it is. The program has an exit code for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A mistake of the caller: options, keys, a policy, a device that is not there, nothing to verify against.
    Usage,
    /// It could not be completed: something could not be read, or changed under the run.
    Incomplete,
    /// There was nothing of what was asked for.
    Nothing,
    /// It was asked to stop.
    Interrupted,
}

/// Why a verb ends without a report. What is wrong with a model, with its seal or with its signature is none of
/// these, but a finding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model cannot be opened or read, or something that was read changed under the run.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It was not measured to its end.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Marks could not be looked for.
    #[error(transparent)]
    Detect(DetectError),
    /// There is no model.
    #[error("{}: no such file or directory", .0.display())]
    NoModel(PathBuf),
    /// A place with many models.
    #[error("{} is a cache of Hugging Face, which is no model; {instead}", path.display())]
    Cache {
        /// The place.
        path: PathBuf,
        /// What to give instead of it.
        instead: String,
    },
    /// There is no seal, or it cannot be read.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A key, a signature or another small file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is longer than any of its kind.
    #[error("{}: longer than {most} bytes: no such file is", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes that one may have.
        most: u64,
    },
    /// A key to sign or to verify with cannot be used.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// A certificate cannot be used.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// The key of a mark cannot be used.
    #[error(transparent)]
    WatermarkKey(#[from] key::WatermarkKeyError),
    /// The claim of a mark cannot be read.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// More keys of marks than one run looks for.
    #[error("at most {0} keys can be looked for at once")]
    TooManyKeys(usize),
    /// A key that is looked for twice would be paid for as two.
    #[error("key {0} was given twice")]
    DuplicateKey(String),
    /// Something that a policy names.
    #[error("{}: {key}: {source}", policy.display())]
    InPolicy {
        /// The policy.
        policy: PathBuf,
        /// The key of it that names it.
        key: String,
        /// Why it cannot be used.
        source: Box<Error>,
    },
    /// A path that is to be ignored is no part of the model.
    #[error(
        "{} is not in {}: only a part of it can be ignored",
        path.display(),
        model.display()
    )]
    NotInModel {
        /// The path.
        path: PathBuf,
        /// The model.
        model: PathBuf,
    },
    /// There is no baseline.
    #[error("no baseline at {}: name a seal or a model", .0.display())]
    NoBaseline(PathBuf),
    /// A baseline has no weights.
    #[error("{}: no tensor to compare with", .0.display())]
    EmptyBaseline(PathBuf),
    /// A model that something is made from, or drawn from, is malformed.
    #[error("{first}{}", more_problems(*more))]
    Unsound {
        /// What is wrong first.
        first: String,
        /// How much else is.
        more: usize,
    },
    /// Not one tensor can be read, and there is nothing to judge; what is there instead, in words.
    #[error("{0}")]
    NoWeights(String),
    /// A model without one file.
    #[error("{}: no file: nothing to {verb}", model.display())]
    NoFiles {
        /// The model.
        model: PathBuf,
        /// What was to be done with them.
        verb: &'static str,
    },
    /// Bytes are not those of the checksum that their file states.
    #[error("{0}")]
    Checksum(String),
    /// A directory is where the seal is to be written.
    #[error("{} is a directory: name a file for the seal", .0.display())]
    SealIsDirectory(PathBuf),
    /// A device or a pipe is.
    #[error("{} is not a regular file", .0.display())]
    SealIsNoFile(PathBuf),
    /// A file of the model is.
    #[error("{} is part of the model ({file}): the seal must be another file", path.display())]
    SealIsPart {
        /// The place.
        path: PathBuf,
        /// The file, as the model calls it.
        file: String,
    },
    /// Something else is where the fine sidecar is to be written.
    #[error("{} is there and is no fine sidecar: it would be overwritten", .0.display())]
    NotChunkDigests(PathBuf),
    /// It cannot be signed.
    #[error(transparent)]
    Sign(#[from] SigningError),
    /// A file has no digest that a statement could name it by.
    #[error("{0} was not hashed")]
    NotHashed(String),
    /// The files of a model make no manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// What was named for something new is there.
    #[error("{}: it exists; name a new directory", .0.display())]
    OutputExists(PathBuf),
    /// A directory cannot be written to.
    #[error("cannot write to {}: {source}", path.display())]
    WriteTo {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A copy of the model cannot be written.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A copy of a model would lie in it.
    #[error(
        "{} lies inside {}: write the copy beside it",
        path.display(),
        model.display()
    )]
    InsideModel {
        /// The place.
        path: PathBuf,
        /// The model.
        model: PathBuf,
    },
    /// A place is in no directory.
    #[error(
        "{}: cannot be written: there is no directory {}",
        path.display(),
        directory.display()
    )]
    NoDirectory {
        /// The place.
        path: PathBuf,
        /// What is not there.
        directory: PathBuf,
    },
    /// A document cannot be written.
    #[error("cannot write {what} to {}: {source}", path.display())]
    WriteOf {
        /// What it is.
        what: &'static str,
        /// Where it was to be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A stream cannot be extracted.
    #[error(transparent)]
    ExtractStream(#[from] ExtractError),
    /// The file of a stream cannot be made, or not be kept.
    #[error(transparent)]
    ExtractionFile(io::Error),
    /// The clock of this machine shows no time that can be told.
    #[error("{0}")]
    Clock(jiff::Error),
}

fn more_problems(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!(" (and {more} more problems)"),
    }
}

impl Error {
    /// What kind it is of.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Run(error) | Self::Detect(DetectError::Run(error)) => run_error_kind(error),
            Self::Seal(SealError::Missing(_)) => ErrorKind::Usage,
            Self::InPolicy { source, .. } => source.kind(),
            Self::Read { .. }
            | Self::TooLong { .. }
            | Self::Cache { .. }
            | Self::Key { .. }
            | Self::Certificate { .. }
            | Self::WatermarkKey(_)
            | Self::Claim(_)
            | Self::TooManyKeys(_)
            | Self::DuplicateKey(_)
            | Self::NotInModel { .. }
            | Self::NoBaseline(_)
            | Self::EmptyBaseline(_)
            | Self::SealIsDirectory(_)
            | Self::SealIsNoFile(_)
            | Self::SealIsPart { .. }
            | Self::NotChunkDigests(_)
            | Self::Copy(CopyError::Exists(_))
            | Self::InsideModel { .. }
            | Self::OutputExists(_) => ErrorKind::Usage,
            Self::Sign(error) => error.kind(),
            Self::NoWeights(_) | Self::NoFiles { .. } => ErrorKind::Nothing,
            Self::Open(_)
            | Self::Detect(DetectError::Changed(_))
            | Self::NoModel(_)
            | Self::Seal(_)
            | Self::Unsound { .. }
            | Self::Checksum(_)
            | Self::NotHashed(_)
            | Self::Manifest(_)
            | Self::Copy(_)
            | Self::NoDirectory { .. }
            | Self::WriteTo { .. }
            | Self::WriteOf { .. }
            | Self::Write { .. }
            | Self::ExtractStream(_)
            | Self::ExtractionFile(_)
            | Self::Clock(_) => ErrorKind::Incomplete,
        }
    }
}

fn run_error_kind(error: &RunError) -> ErrorKind {
    match error {
        RunError::Interrupted => ErrorKind::Interrupted,
        RunError::Device(_) => ErrorKind::Usage,
        _ => ErrorKind::Incomplete,
    }
}

impl From<DetectError> for Error {
    fn from(error: DetectError) -> Self {
        match error {
            DetectError::Run(error) => Self::Run(error),
            error => Self::Detect(error),
        }
    }
}

impl From<ExamineError> for Error {
    fn from(error: ExamineError) -> Self {
        match error {
            ExamineError::Run(error) => Self::Run(error),
            ExamineError::Watermark(error) => error.into(),
        }
    }
}
