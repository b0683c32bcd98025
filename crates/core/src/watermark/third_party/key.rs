//! The key of another scheme: its descriptor, its arrays, and its id.
//!
//! The id is BLAKE3 `derive_key` over everything the key says: whoever publishes it has committed to the
//! key, and can show it later. It does not depend on what the files are called, on the container an
//! array lies in, or on the note.

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
use crate::watermark::files::directory_of;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tensorseal_base::regular_file::open_regular;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_format::ModelFile;

const CONTEXT_ID: &str = "tensorseal 2026-11-24 third-party watermark key id v1";

/// Why a key cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ThirdPartyKeyError {
    /// Its descriptor cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The descriptor.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no key of another scheme.
    #[error("{}: not a key that can be checked: {source}", path.display())]
    Descriptor {
        /// The descriptor.
        path: PathBuf,
        /// Why.
        source: DescriptorError,
    },
    /// One of its arrays cannot be used.
    #[error("{}: the array {array} {source}", path.display())]
    Array {
        /// The descriptor.
        path: PathBuf,
        /// Its name in the descriptor.
        array: String,
        /// Why.
        source: ArrayError,
    },
    /// Asked to stop.
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
    /// Reads a key: its descriptor, and all of its arrays to check and digest them.
    ///
    /// # Errors
    /// See [`ThirdPartyKeyError`].
    pub fn read(path: &Path) -> Result<Self, ThirdPartyKeyError> {
        Self::read_watched(path, &Progress::default())
    }

    /// [`ThirdPartyKey::read`] that tells how far it is, and can be stopped: the numbers of a key may
    /// be as many as the weights of a model.
    ///
    /// # Errors
    /// See [`ThirdPartyKeyError`].
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
        let mut shelf = KeyDirectory::new(directory_of(path), progress).map_err(failed)?;
        let scheme = descriptor.scheme;
        let (sigma, parts) = read_parts(descriptor.parts, &mut shelf).map_err(|named| {
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
        Ok(Self { scheme, id, sigma, parts, files: shelf.files })
    }

    /// Whose key it is.
    pub fn scheme(&self) -> ThirdPartyScheme {
        self.scheme
    }

    /// What commits to the key without telling it: 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Standard deviation of its numbers, where they are normal; else 1.
    pub(super) fn sigma(&self) -> f64 {
        self.sigma
    }
}

type KeyParts = Vec<Box<dyn KeyPart>>;

fn read_parts(
    described: PartDescriptors,
    shelf: &mut KeyDirectory<'_>,
) -> Result<(f64, KeyParts), NamedArrayError> {
    let mut parts: KeyParts = Vec::new();
    match described {
        PartDescriptors::Projections(all) => {
            for part in all {
                parts.push(Box::new(ProjectionPart::read(part, shelf)?));
            }
        }
        PartDescriptors::Codes(all) => {
            for part in all {
                parts.push(Box::new(CodesPart::read(part, shelf)?));
            }
        }
        PartDescriptors::NeuralMark(all) => {
            for part in all {
                parts.push(Box::new(NeuralMarkPart::read(part, shelf)?));
            }
        }
        PartDescriptors::Signs(all) => {
            for part in all {
                parts.push(Box::new(SignsPart::read(part, shelf)?));
            }
        }
        PartDescriptors::Gaussian { sigma, parts: all } => {
            for part in all {
                let most = MAX_PARTS - parts.len().min(MAX_PARTS);
                for part in NormalPart::read(part, sigma, most, shelf)? {
                    parts.push(Box::new(part));
                }
            }
            return Ok((sigma, parts));
        }
    }
    Ok((1.0, parts))
}
