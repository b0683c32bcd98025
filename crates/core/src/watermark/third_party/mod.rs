//! Measures the marks of other schemes with their keys.
//!
//! - [`scheme`] lists the supported schemes, and those that cannot be checked from weights alone.
//! - [`descriptor`] and [`key`] read a key: a small JSON document and its arrays, which are `.npy` files
//!   ([`npy`](tensorseal_format::numpy::npy)) or tensors of safetensors files ([`arrays`], read by `key_directory`).
//! - `projections` (Uchida, DeepMarks), `codes` (EmMark), `neuralmark` and `correlations` (normal numbers, signs)
//!   measure a model: each streams a tensor of the model and the arrays of one part of the key, and returns counts or
//!   sums.
//! - [`interval`] compares two models, without a key.
//! - [`judge::third_party`](crate::judge::third_party) judges the measurements.

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

/// The maximum number of rows of a matrix of a key: the length of the projected vector.
pub const MAX_ROWS: u64 = 1 << 24;

/// The maximum number of columns of a matrix of a key: the bits of a part.
pub const MAX_BITS: u64 = 1 << 16;

/// The maximum number of parts of a key.
pub const MAX_PARTS: usize = 4096;

/// The maximum number of positions in a part.
pub const MAX_POSITIONS: u64 = 1 << 24;

/// An error while measuring a model with a key of another scheme.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThirdPartyError {
    /// The model has no readable tensor that the key names.
    #[error("the model has no readable tensor '{}', which the key names", display_name(tensor))]
    NoTensor {
        /// The name in the key.
        tensor: String,
    },
    /// The dimensions of a tensor do not fit the key.
    #[error("tensor '{}' of shape {shape} does not fit the key: {what}", display_name(tensor))]
    Shape {
        /// The name in the model.
        tensor: String,
        /// The dimensions.
        shape: String,
        /// How they differ from what the key needs.
        what: String,
    },
    /// The scheme does not mark elements of this type.
    #[error(
        "tensor '{}' has elements of type {dtype}; the scheme marks {expected}",
        display_name(tensor)
    )]
    Dtype {
        /// The name in the model.
        tensor: String,
        /// The element type.
        dtype: Dtype,
        /// The types that the scheme marks, in words.
        expected: &'static str,
    },
    /// A file of the model or of the key cannot be read or changed, or the run was interrupted.
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

    fn dtype(tensor: &Tensor, expected: &'static str) -> Self {
        Self::Dtype { tensor: tensor.name.clone(), dtype: tensor.dtype, expected }
    }
}

/// A part of a key, for one tensor.
trait KeyPart: Send + Sync {
    /// Returns the name of the tensor in the key.
    fn tensor(&self) -> &str;

    /// Returns its arrays, each as often as it is read.
    fn arrays(&self) -> Vec<&Array>;

    /// Adds all of its values to the id of the key.
    fn commit(&self, id: &mut KeyIdHasher);

    /// Checks that the part fits a tensor.
    fn check(&self, tensor: &Tensor) -> Result<(), ThirdPartyError>;

    /// Measures a tensor that [`KeyPart::check`] accepted.
    fn measure(
        &self,
        tensor: &Tensor,
        run: &MeasurementContext<'_>,
    ) -> Result<PartMeasurement, ThirdPartyError>;
}

/// The state that the measurements of all parts share.
struct MeasurementContext<'a> {
    /// The files of the model.
    model: FileSet<'a>,
    /// The files of the key.
    key: FileSet<'a>,
    pool: &'a WorkerPool,
    progress: &'a Progress,
}

impl MeasurementContext<'_> {
    /// Returns the values of a tensor of floats, with zero for values that are not finite.
    fn weights<'b>(&'b self, tensor: &'b Tensor) -> Result<TensorValues<'b>, ThirdPartyError> {
        let decoder = Decoder::for_weights(tensor.dtype);
        let decoder = decoder.ok_or_else(|| ThirdPartyError::dtype(tensor, FLOATS))?;
        Ok(TensorValues::new(&self.model, tensor, decoder))
    }

    /// Reads a piece of values from `first` on.
    fn piece(&self, values: &TensorValues<'_>, first: u64) -> Result<Vec<f64>, RunError> {
        if self.progress.stopped() {
            return Err(RunError::Interrupted);
        }
        let piece = values.read(first, PIECE_LEN)?;
        self.progress.add((piece.len() * values.width()) as u64);
        Ok(piece)
    }

    /// Reads all pieces of values, each with the index of its first element.
    fn pieces<'b>(
        &'b self,
        values: &'b TensorValues<'_>,
    ) -> impl Iterator<Item = Result<(u64, Vec<f64>), RunError>> + 'b {
        values.starts().map(|first| Ok((first, self.piece(values, first)?)))
    }
}

/// The types that the schemes for floats mark, in words.
const FLOATS: &str = "floating-point weights of 8 to 64 bits";

fn check_floats(tensor: &Tensor) -> Result<(), ThirdPartyError> {
    match Decoder::for_weights(tensor.dtype) {
        Some(_) => Ok(()),
        None => Err(ThirdPartyError::dtype(tensor, FLOATS)),
    }
}

/// Measures a model with a key: each part of the key on its tensor. Tensors are found by their name, or else by their
/// canonical name.
///
/// Memory: at most about 300 MiB, for the largest matrices and lists of positions that a key may have
/// ([`MAX_ROWS`], [`MAX_POSITIONS`]), whatever the size of the model.
///
/// # Errors
/// Returns a [`ThirdPartyError`] if a tensor is missing or does not fit the key, if a file cannot be read or changed,
/// or if the run is interrupted.
pub fn measure(
    model: &Checkpoint,
    key: &ThirdPartyKey,
    threads: &Threads,
    progress: &Progress,
) -> Result<ThirdPartyMeasurement, ThirdPartyError> {
    let index = TensorIndex::new(model);
    let mut tensors = Vec::with_capacity(key.parts.len());
    for part in &key.parts {
        let at = index.find(part.tensor()).filter(|at| index.is_whole(*at));
        let at =
            at.ok_or_else(|| ThirdPartyError::NoTensor { tensor: part.tensor().to_owned() })?;
        let tensor = &model.tensors[at];
        part.check(tensor)?;
        tensors.push((at, tensor));
    }
    let model_plan = Plan::from_tensors(tensors.iter().copied());
    let key_plan = Plan::from_tensors(
        key.parts.iter().flat_map(|part| part.arrays()).map(|array| (0, &array.tensor)),
    );
    progress.expect(model_plan.bytes() + key_plan.bytes());
    let pool = threads.pool()?;
    let run = MeasurementContext {
        model: FileSet::new(&model.files, &model_plan),
        key: FileSet::new(&key.files, &key_plan),
        pool,
        progress,
    };
    let mut parts = Vec::with_capacity(tensors.len());
    for (part, (_, tensor)) in key.parts.iter().zip(&tensors) {
        parts.push(part.measure(tensor, &run)?);
        run.model.object_done(tensor.file)?;
        for array in part.arrays() {
            run.key.object_done(array.tensor.file)?;
        }
    }
    Ok(ThirdPartyMeasurement { scheme: key.scheme(), sigma: key.sigma(), parts })
}
