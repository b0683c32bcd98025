//! Reads the key of another scheme: its descriptor, its arrays, and its id.
//!
//! The id is BLAKE3 `derive_key` over all values of the key. Publishing it commits to the key, which can be revealed
//! later. It does not depend on the names of the files, the containers of the arrays, or the note.

use super::arrays::{ArrayError, NamedArrayError};
use super::codes::CodesPart;
use super::correlations::{NormalPart, SignsPart};
use super::descriptor::{Descriptor, DescriptorError, MAX_FILE, PartDescriptors};
use super::key_directory::KeyDirectory;
use super::key_id::KeyIdHasher;
use super::neuralmark::NeuralMarkPart;
use super::projections::ProjectionPart;
use super::scheme::ThirdPartyScheme;
use super::{KeyPart, MAX_PARTS};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tensorseal_base::regular_file::open_regular;
use tensorseal_base::system::directory_of;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_format::ModelFile;

const CONTEXT_ID: &str = "tensorseal 2026-11-24 third-party watermark key id v1";

/// An error while reading the key of another scheme.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThirdPartyKeyError {
    /// The descriptor cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The descriptor.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The descriptor is not a valid key of a supported scheme.
    #[error("{}: not a supported key: {source}", path.display())]
    Descriptor {
        /// The descriptor.
        path: PathBuf,
        /// The cause.
        source: DescriptorError,
    },
    /// An array of the key cannot be used.
    #[error("{}: the array {array} {source}", path.display())]
    Array {
        /// The descriptor.
        path: PathBuf,
        /// The name of the array in the descriptor.
        array: String,
        /// The cause.
        source: ArrayError,
    },
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// The key of another scheme.
pub struct ThirdPartyKey {
    scheme: ThirdPartyScheme,
    id: String,
    sigma: f64,
    pub(super) parts: Vec<Box<dyn KeyPart>>,
    /// The files of its arrays.
    pub(super) files: Vec<ModelFile>,
}

impl std::fmt::Debug for ThirdPartyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ThirdPartyKey({}, {}, {} parts)", self.scheme, self.id, self.parts.len())
    }
}

impl ThirdPartyKey {
    /// Reads a key: its descriptor, and all of its arrays, which are checked and hashed.
    ///
    /// # Errors
    /// Returns a [`ThirdPartyKeyError`] if the descriptor or an array cannot be read or is invalid.
    pub fn read(path: &Path) -> Result<Self, ThirdPartyKeyError> {
        Self::read_watched(path, &Progress::default())
    }

    /// Reads a key like [`ThirdPartyKey::read`], with progress and the possibility to stop: a key can be as large as a
    /// model.
    ///
    /// # Errors
    /// Returns a [`ThirdPartyKeyError`] if the descriptor or an array cannot be read or is invalid, or if the run is
    /// interrupted.
    pub fn read_watched(path: &Path, progress: &Progress) -> Result<Self, ThirdPartyKeyError> {
        let failed = |source| ThirdPartyKeyError::Read { path: path.to_owned(), source };
        let mut text = Vec::new();
        let file = open_regular(path).map_err(failed)?;
        file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_FILE {
            let what = format!("it is longer than {MAX_FILE} bytes");
            let source = DescriptorError::Json(what);
            return Err(ThirdPartyKeyError::Descriptor { path: path.to_owned(), source });
        }
        let descriptor = Descriptor::parse(&text)
            .map_err(|source| ThirdPartyKeyError::Descriptor { path: path.to_owned(), source })?;
        let mut directory = KeyDirectory::new(directory_of(path), progress).map_err(failed)?;
        let scheme = descriptor.scheme;
        let (sigma, parts) = read_parts(descriptor.parts, &mut directory).map_err(|named| {
            let NamedArrayError { array, error } = named;
            match error {
                ArrayError::Interrupted => ThirdPartyKeyError::Interrupted,
                source => ThirdPartyKeyError::Array { path: path.to_owned(), array, source },
            }
        })?;
        let mut id = KeyIdHasher::new(CONTEXT_ID);
        id.text(scheme.name());
        id.bytes(&sigma.to_le_bytes());
        id.number(parts.len() as u64);
        parts.iter().for_each(|part| part.commit(&mut id));
        let id = id.hex();
        Ok(Self { scheme, id, sigma, parts, files: directory.files })
    }

    /// Returns the scheme of the key.
    pub fn scheme(&self) -> ThirdPartyScheme {
        self.scheme
    }

    /// Returns the id, which commits to the key without revealing it: 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the standard deviation of its numbers if they are normal, else 1.
    pub(super) fn sigma(&self) -> f64 {
        self.sigma
    }
}

type KeyParts = Vec<Box<dyn KeyPart>>;

fn read_parts(
    described: PartDescriptors,
    directory: &mut KeyDirectory<'_>,
) -> Result<(f64, KeyParts), NamedArrayError> {
    let mut parts: KeyParts = Vec::new();
    match described {
        PartDescriptors::Projections(all) => {
            for part in all {
                parts.push(Box::new(ProjectionPart::read(part, directory)?));
            }
        }
        PartDescriptors::Codes(all) => {
            for part in all {
                parts.push(Box::new(CodesPart::read(part, directory)?));
            }
        }
        PartDescriptors::NeuralMark(all) => {
            for part in all {
                parts.push(Box::new(NeuralMarkPart::read(part, directory)?));
            }
        }
        PartDescriptors::Signs(all) => {
            for part in all {
                parts.push(Box::new(SignsPart::read(part, directory)?));
            }
        }
        PartDescriptors::Gaussian { sigma, parts: all } => {
            for part in all {
                let max_parts = MAX_PARTS - parts.len().min(MAX_PARTS);
                for part in NormalPart::read(part, sigma, max_parts, directory)? {
                    parts.push(Box::new(part));
                }
            }
            return Ok((sigma, parts));
        }
    }
    Ok((1.0, parts))
}
