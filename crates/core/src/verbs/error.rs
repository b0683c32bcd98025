//! The errors of commands.

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

/// The kind of an error. The program has an exit code for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A mistake of the caller: wrong options, keys or policies, a missing device, or nothing to verify against.
    Usage,
    /// The command could not be completed: something could not be read, or changed during the run.
    Incomplete,
    /// There was nothing to work on.
    Nothing,
    /// The run was interrupted.
    Interrupted,
}

/// An error that ends a command without a report. Problems with a model, its seal or its signature are findings
/// instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model cannot be opened or read, or an input changed during the run.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The measurement was not completed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The search for marks was not completed.
    #[error(transparent)]
    Detect(DetectError),
    /// There is no model at this path.
    #[error("{}: no such file or directory", .0.display())]
    NoModel(PathBuf),
    /// The path is a cache with many models.
    #[error("{} is a Hugging Face cache, not a model; {instead}", path.display())]
    Cache {
        /// The path of the cache.
        path: PathBuf,
        /// What to give instead.
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
        /// The cause.
        source: io::Error,
    },
    /// A file is longer than the limit for its kind.
    #[error("{}: longer than the limit of {limit} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A key to sign or to verify with cannot be used.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: KeyError,
    },
    /// A certificate cannot be used.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: CertificateError,
    },
    /// The key of a mark cannot be used.
    #[error(transparent)]
    WatermarkKey(#[from] key::WatermarkKeyError),
    /// The claim of a mark cannot be read.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// There are more watermark keys than one run can search for.
    #[error("at most {0} watermark keys can be searched for in one run")]
    TooManyKeys(usize),
    /// The same key was given twice, which would distort the correction for several keys.
    #[error("key {0} was given twice")]
    DuplicateKey(String),
    /// Something that a policy names cannot be used.
    #[error("{}: {key}: {source}", policy.display())]
    InPolicy {
        /// The policy.
        policy: PathBuf,
        /// The key of the policy that names it.
        key: String,
        /// The cause.
        source: Box<Error>,
    },
    /// A path to ignore is not part of the model.
    #[error(
        "{} is not in {}: only paths in the model can be ignored",
        path.display(),
        model.display()
    )]
    NotInModel {
        /// The path.
        path: PathBuf,
        /// The model.
        model: PathBuf,
    },
    /// There is no baseline at this path.
    #[error("no baseline at {}: give a seal or a model", .0.display())]
    NoBaseline(PathBuf),
    /// The baseline has no tensors.
    #[error("{}: the baseline has no tensors to compare with", .0.display())]
    EmptyBaseline(PathBuf),
    /// The model is malformed, and the command needs a sound one.
    #[error("{first}{}", more_problems(*more))]
    Unsound {
        /// The first problem.
        first: String,
        /// The number of further problems.
        more: usize,
    },
    /// No tensor can be read, so there is nothing to judge. The text says what was found instead.
    #[error("{0}")]
    NoWeights(String),
    /// The model has no files.
    #[error("{}: no files to {verb}", model.display())]
    NoFiles {
        /// The model.
        model: PathBuf,
        /// What the command does with files.
        verb: &'static str,
    },
    /// Bytes do not match the checksum that their file stores.
    #[error("{0}")]
    Checksum(String),
    /// The output path of the seal is a directory.
    #[error("{} is a directory: give a file for the seal", .0.display())]
    SealIsDirectory(PathBuf),
    /// The output path of the seal is a device or a pipe.
    #[error("{} is not a regular file", .0.display())]
    SealIsNoFile(PathBuf),
    /// The output path of the seal is a file of the model.
    #[error("{} is part of the model ({file}): write the seal to another file", path.display())]
    SealIsPart {
        /// The output path.
        path: PathBuf,
        /// The path of the file in the model.
        file: String,
    },
    /// The output path of the chunk digests is another file.
    #[error("refusing to overwrite {}: not a chunk-digest file", .0.display())]
    NotChunkDigests(PathBuf),
    /// The model cannot be signed.
    #[error(transparent)]
    Sign(#[from] SigningError),
    /// A file has no digest for the statement.
    #[error("{0} was not hashed")]
    NotHashed(String),
    /// No manifest can be made of the files of a model.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The output directory exists.
    #[error("{} already exists; choose a new directory", .0.display())]
    OutputExists(PathBuf),
    /// A directory cannot be written to.
    #[error("cannot write to {}: {source}", path.display())]
    WriteTo {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A copy of the model cannot be written.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The output path of a copy is inside the model.
    #[error(
    "{} is inside {}: write the copy outside of the model",
        path.display(),
        model.display()
    )]
    InsideModel {
        /// The output path.
        path: PathBuf,
        /// The model.
        model: PathBuf,
    },
    /// The directory of an output path does not exist.
    #[error(
        "cannot write {}: directory {} does not exist",
        path.display(),
        directory.display()
    )]
    NoDirectory {
        /// The output path.
        path: PathBuf,
        /// The missing directory.
        directory: PathBuf,
    },
    /// A document cannot be written.
    #[error("cannot write {what} to {}: {source}", path.display())]
    WriteOf {
        /// The kind of document.
        what: &'static str,
        /// The output path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file or directory cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A low-bit stream cannot be extracted.
    #[error(transparent)]
    ExtractStream(#[from] ExtractError),
    /// The file of an extracted stream cannot be written.
    #[error("cannot write an extracted stream: {0}")]
    ExtractionFile(io::Error),
    /// The clock of this machine shows a time that cannot be represented.
    #[error("the system clock is invalid: {0}")]
    Clock(String),
}

fn more_problems(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!(" (and {more} more problems)"),
    }
}

impl Error {
    /// Returns the kind of the error.
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
