//! The key of another scheme: its descriptor, its arrays, and its id.
//!
//! The id is BLAKE3 `derive_key` over everything the key says: whoever publishes it has committed to the
//! key, and can show it later. It does not depend on what the files are called, on the container an
//! array lies in, or on the note.

use super::arrays::{ArrayError, NamedError};
use super::codes::Coded;
use super::commitment::Commitment;
use super::correlations::{Chips, Normal};
use super::descriptor::{Described, Descriptor, DescriptorError, MAX_FILE};
use super::neuralmark::Hashed;
use super::projections::Projected;
use super::scheme::Scheme;
use super::shelf::Shelf;
use super::{MAX_PARTS, Part};
use crate::watermark::files::directory_of;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tensorseal_base::small::open_regular;
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
    scheme: Scheme,
    id: String,
    sigma: f64,
    pub(super) parts: Vec<Box<dyn Part>>,
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
        let mut shelf = Shelf::new(directory_of(path), progress).map_err(failed)?;
        let scheme = descriptor.scheme;
        let (sigma, parts) = read_parts(descriptor.parts, &mut shelf).map_err(|named| {
            let NamedError { array, error } = named;
            match error {
                ArrayError::Interrupted => ThirdPartyKeyError::Interrupted,
                source => ThirdPartyKeyError::Array { path: path.to_owned(), array, source },
            }
        })?;
        let mut id = Commitment::new(CONTEXT_ID);
        id.text(scheme.name());
        id.bytes(&sigma.to_le_bytes());
        id.number(parts.len() as u64);
        parts.iter().for_each(|part| part.commit(&mut id));
        let id = id.hex();
        Ok(Self { scheme, id, sigma, parts, files: shelf.files })
    }

    /// Whose key it is.
    pub fn scheme(&self) -> Scheme {
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

type Parts = Vec<Box<dyn Part>>;

fn read_parts(described: Described, shelf: &mut Shelf<'_>) -> Result<(f64, Parts), NamedError> {
    let mut parts: Parts = Vec::new();
    match described {
        Described::Projections(all) => {
            for part in all {
                parts.push(Box::new(Projected::read(part, shelf)?));
            }
        }
        Described::Codes(all) => {
            for part in all {
                parts.push(Box::new(Coded::read(part, shelf)?));
            }
        }
        Described::NeuralMark(all) => {
            for part in all {
                parts.push(Box::new(Hashed::read(part, shelf)?));
            }
        }
        Described::Signs(all) => {
            for part in all {
                parts.push(Box::new(Chips::read(part, shelf)?));
            }
        }
        Described::Gaussian { sigma, parts: all } => {
            for part in all {
                let most = MAX_PARTS - parts.len().min(MAX_PARTS);
                for part in Normal::read(part, sigma, most, shelf)? {
                    parts.push(Box::new(part));
                }
            }
            return Ok((sigma, parts));
        }
    }
    Ok((1.0, parts))
}
