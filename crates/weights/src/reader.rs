//! Reads the values of weights, piece by piece.

use super::element_reader::ElementReader;
use super::{Weight, WeightStorage};
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_engine::stream::plan::Plan;
use tensorseal_format::Checkpoint;

/// Reads weights of one model.
pub struct WeightReader<'a> {
    reader: ElementReader<'a>,
}

impl<'a> WeightReader<'a> {
    /// Creates a reader for `model`. `files` must be the files of a plan of [`read_plan`].
    pub fn new(model: &'a Checkpoint, files: &'a FileSet<'a>) -> Self {
        Self { reader: ElementReader::new(model, files) }
    }

    /// Returns the values of elements `first..first + count` of a weight, finite or not, in the order of the Hugging Face
    /// checkpoint. Allocates memory for `count` values.
    ///
    /// # Errors
    /// Returns a [`FileError`] if a file cannot be read, or changed.
    pub fn read(&self, weight: &Weight, first: u64, count: usize) -> Result<Vec<f64>, FileError> {
        match &weight.storage {
            WeightStorage::View(view) => view.read(&self.reader, first, count),
            WeightStorage::Joined(joined) => joined.read(&self.reader, first, count),
            WeightStorage::Quantised(_) => {
                let mut values = vec![0.0; count];
                self.read_into(weight, first, &mut values)?;
                Ok(values.into_iter().map(f64::from).collect())
            }
        }
    }

    /// Reads the values of elements from `first` on as binary32, the precision in which quantised weights are computed.
    /// Fills all of `values`.
    ///
    /// # Errors
    /// Returns a [`FileError`] if a file cannot be read, or changed.
    pub fn read_into(
        &self,
        weight: &Weight,
        first: u64,
        values: &mut [f32],
    ) -> Result<(), FileError> {
        match &weight.storage {
            WeightStorage::View(_) | WeightStorage::Joined(_) => {
                let read = self.read(weight, first, values.len())?;
                values.iter_mut().zip(read).for_each(|(to, from)| *to = from as f32);
                Ok(())
            }
            WeightStorage::Quantised(part) => {
                part.quantised.read(&self.reader, part.first + first, values)
            }
        }
    }

    /// Returns the number of elements that a thread should read at once, a multiple of 512.
    pub fn piece_len(weight: &Weight) -> u64 {
        match &weight.storage {
            WeightStorage::View(view) => view.piece_len(),
            WeightStorage::Joined(joined) => joined.piece_len(),
            WeightStorage::Quantised(part) => part.quantised.piece_len(),
        }
    }
}

/// Plans to read all tensors of these weights. Call [`finish_weight`] for each weight that was read.
pub fn read_plan<'a>(model: &Checkpoint, weights: impl Iterator<Item = &'a Weight>) -> Plan {
    let tensors = weights.flat_map(|weight| weight.tensors());
    Plan::from_tensors(tensors.map(|index| (index, &model.tensors[index])))
}

/// Records that a weight was read, and checks its files after their last weight.
///
/// # Errors
/// Returns a [`FileError`] if one of the files changed since the model was opened.
pub fn finish_weight(
    model: &Checkpoint,
    files: &FileSet<'_>,
    weight: &Weight,
) -> Result<(), FileError> {
    for index in weight.tensors().iter() {
        files.object_done(model.tensors[*index].file)?;
    }
    Ok(())
}
