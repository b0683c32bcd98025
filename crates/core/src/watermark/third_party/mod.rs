//! Marks of other schemes: their keys, and what a model shows of them.
//!
//! - [`scheme`] lists the schemes, and those that cannot be checked from weights alone.
//! - [`descriptor`] and [`key`] read a key: small JSON beside its arrays, which are `.npy` files
//!   ([`npy`](tensorseal_format::numpy::npy)) or tensors of safetensors files ([`arrays`], read by `shelf`).
//! - `projections` (Uchida, DeepMarks), `codes` (EmMark), `neuralmark` and `correlations` (normal
//!   numbers, signs) measure: each streams a tensor of the model and the arrays of one part of
//!   the key, and returns counts or sums.
//! - [`interval`] compares two models; it has no key.
//! - What it means is judged in [`judge::third_party`](crate::judge::third_party).

pub mod arrays;
mod codes;
mod correlations;
pub mod descriptor;
pub mod interval;
pub mod key;
mod key_directory;
mod key_id;
mod measurement;
mod neuralmark;
mod projections;
mod signed_positions;

pub use interval::Intervals;
pub use key::{ThirdPartyKey, ThirdPartyKeyError};
pub use measurement::{
    BitMatches, InnerProduct, PartMeasurement, Statistic, ThirdPartyMeasurement,
};

pub use super::scheme::{self, ThirdPartyScheme, refused};

use crate::watermark::tensor_index::TensorIndex;
use arrays::Array;
use key_id::KeyIdHasher;
use tensorseal_base::display::display_name;
use tensorseal_base::dtype::Dtype;
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_engine::stream::plan::Plan;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads, WorkerPool};
use tensorseal_format::{Checkpoint, Tensor};
use tensorseal_weights::values::{Decoder, PIECE_LEN, TensorValues};

/// Longest vector that a projection is of: rows of a matrix of a key.
pub const MAX_ROWS: u64 = 1 << 24;

/// Most bits of a part: columns of a matrix of a key.
pub const MAX_BITS: u64 = 1 << 16;

/// Most parts of a key.
pub const MAX_PARTS: usize = 4096;

/// Most places that a part names.
pub const MAX_PLACES: u64 = 1 << 24;

/// Why a model could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum ThirdPartyError {
    /// The key is for a tensor that is not there.
    #[error("the model has no readable tensor '{}', which the key is for", display_name(tensor))]
    NoTensor {
        /// Its name in the key.
        tensor: String,
    },
    /// Its dimensions are not those that the key is for.
    #[error("tensor '{}' of shape {shape} does not fit the key: {what}", display_name(tensor))]
    Shape {
        /// Its name in the model.
        tensor: String,
        /// Its dimensions.
        shape: String,
        /// What the key wants.
        what: String,
    },
    /// Its elements are not those that the scheme marks.
    #[error(
        "tensor '{}' has elements of type {dtype}; the scheme marks {wanted}",
        display_name(tensor)
    )]
    Dtype {
        /// Its name in the model.
        tensor: String,
        /// Its type.
        dtype: Dtype,
        /// In words.
        wanted: &'static str,
    },
    /// A file of the model or of the key could not be read or changed, or the run was interrupted.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl From<FileError> for ThirdPartyError {
    fn from(error: FileError) -> Self {
        Self::Run(error.into())
    }
}

impl ThirdPartyError {
    fn shape(tensor: &Tensor, what: impl Into<String>) -> Self {
        let shape = arrays::shown(&tensor.shape);
        Self::Shape { tensor: tensor.name.clone(), shape, what: what.into() }
    }

    fn dtype(tensor: &Tensor, wanted: &'static str) -> Self {
        Self::Dtype { tensor: tensor.name.clone(), dtype: tensor.dtype, wanted }
    }
}

/// A part of a key: what it has for one tensor.
trait KeyPart: Send + Sync {
    /// The tensor it is for, by its name in the key.
    fn tensor(&self) -> &str;

    /// Its arrays, as often as they are read.
    fn arrays(&self) -> Vec<&Array>;

    /// Adds everything it says to the id of the key.
    fn commit(&self, id: &mut KeyIdHasher);

    /// Whether the tensor is one that it can be for.
    fn check(&self, tensor: &Tensor) -> Result<(), ThirdPartyError>;

    /// Measures a tensor that was checked.
    fn measure(
        &self,
        tensor: &Tensor,
        run: &MeasurementContext<'_>,
    ) -> Result<PartMeasurement, ThirdPartyError>;
}

/// What the measurement of all parts shares.
struct MeasurementContext<'a> {
    /// The files of the model.
    model: FileSet<'a>,
    /// The files of the key.
    key: FileSet<'a>,
    pool: &'a WorkerPool,
    progress: &'a Progress,
}

impl MeasurementContext<'_> {
    /// The values of a tensor of floats; zero for what is not finite.
    fn weights<'b>(&'b self, tensor: &'b Tensor) -> Result<TensorValues<'b>, ThirdPartyError> {
        let decoder = Decoder::for_weights(tensor.dtype);
        let decoder = decoder.ok_or_else(|| ThirdPartyError::dtype(tensor, FLOATS))?;
        Ok(TensorValues::new(&self.model, tensor, decoder))
    }

    /// A piece of values, from `first` on.
    fn piece(&self, values: &TensorValues<'_>, first: u64) -> Result<Vec<f64>, RunError> {
        if self.progress.stopped() {
            return Err(RunError::Interrupted);
        }
        let piece = values.read(first, PIECE_LEN)?;
        self.progress.add((piece.len() * values.width()) as u64);
        Ok(piece)
    }

    /// All pieces of values, each with the index of its first element.
    fn pieces<'b>(
        &'b self,
        values: &'b TensorValues<'_>,
    ) -> impl Iterator<Item = Result<(u64, Vec<f64>), RunError>> + 'b {
        values.starts().map(|first| Ok((first, self.piece(values, first)?)))
    }
}

/// What the schemes for floats mark.
const FLOATS: &str = "floating-point weights of 8 to 64 bits";

fn check_floats(tensor: &Tensor) -> Result<(), ThirdPartyError> {
    match Decoder::for_weights(tensor.dtype) {
        Some(_) => Ok(()),
        None => Err(ThirdPartyError::dtype(tensor, FLOATS)),
    }
}

/// Measures a model with a key: every part of the key on its tensor. The tensors are found by their
/// names, or else by their canonical names.
///
/// Memory: at most some 300 MiB, for the largest matrices and lists of places that a key may have
/// ([`MAX_ROWS`], [`MAX_PLACES`]), whatever the size of the model.
///
/// # Errors
/// See [`ThirdPartyError`].
pub fn measure(
    model: &Checkpoint,
    key: &ThirdPartyKey,
    threads: &Threads,
    progress: &Progress,
) -> Result<ThirdPartyMeasurement, ThirdPartyError> {
    let names = TensorIndex::of(model);
    let mut found = Vec::with_capacity(key.parts.len());
    for part in &key.parts {
        let index = names.find(part.tensor()).filter(|index| names.is_whole(*index));
        let index =
            index.ok_or_else(|| ThirdPartyError::NoTensor { tensor: part.tensor().to_owned() })?;
        let tensor = &model.tensors[index];
        part.check(tensor)?;
        found.push((index, tensor));
    }
    let of_model = Plan::from_tensors(found.iter().copied());
    let of_key = Plan::from_tensors(
        key.parts.iter().flat_map(|part| part.arrays()).map(|array| (0, &array.tensor)),
    );
    progress.expect(of_model.bytes() + of_key.bytes());
    let pool = threads.pool()?;
    let run = MeasurementContext {
        model: FileSet::new(&model.files, &of_model),
        key: FileSet::new(&key.files, &of_key),
        pool,
        progress,
    };
    let mut parts = Vec::with_capacity(found.len());
    for (part, (_, tensor)) in key.parts.iter().zip(&found) {
        parts.push(part.measure(tensor, &run)?);
        run.model.object_done(tensor.file)?;
        for array in part.arrays() {
            run.key.object_done(array.tensor.file)?;
        }
    }
    Ok(ThirdPartyMeasurement { scheme: key.scheme(), sigma: key.sigma(), parts })
}
