//! The values of weights, piece by piece.

use super::element_reader::ElementReader;
use super::{Weight, WeightStorage};
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_engine::stream::plan::Plan;
use tensorseal_format::Checkpoint;

/// Reads weights of one model.
pub struct WeightReader<'a> {
    stored: ElementReader<'a>,
}

impl<'a> WeightReader<'a> {
    /// `files` are those of a plan that [`read_plan`] made.
    pub fn new(model: &'a Checkpoint, files: &'a FileSet<'a>) -> Self {
        Self { stored: ElementReader::new(model, files) }
    }

    /// Elements `first..first + count` of a weight, in their Hugging Face order, finite or not. `count` is the caller's
    /// bound on the memory.
    ///
    /// # Errors
    /// When a file cannot be read or changed.
    pub fn read(&self, weight: &Weight, first: u64, count: usize) -> Result<Vec<f64>, FileError> {
        match &weight.storage {
            WeightStorage::View(arranged) => arranged.read(&self.stored, first, count),
            WeightStorage::Joined(joined) => joined.read(&self.stored, first, count),
            WeightStorage::Quantised(_) => {
                let mut values = vec![0.0; count];
                self.read_into(weight, first, &mut values)?;
                Ok(values.into_iter().map(f64::from).collect())
            }
        }
    }

    /// The same elements as binary32, which is what quantised weights are put together as: as many as there is place
    /// for.
    ///
    /// # Errors
    /// When a file cannot be read or changed.
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
                part.quantised.read(&self.stored, part.first + first, values)
            }
        }
    }

    /// The elements that are best read at once, a multiple of 512: pieces of a weight for threads.
    pub fn piece_len(weight: &Weight) -> u64 {
        match &weight.storage {
            WeightStorage::View(arranged) => arranged.piece_len(),
            WeightStorage::Joined(joined) => joined.piece_len(),
            WeightStorage::Quantised(part) => part.quantised.piece_len(),
        }
    }
}

/// What is read of a model for these weights: for each, all of its tensors. Who has read a weight says so
/// with [`finish_weight`].
pub fn read_plan<'a>(model: &Checkpoint, weights: impl Iterator<Item = &'a Weight>) -> Plan {
    let tensors = weights.flat_map(|weight| weight.tensors());
    Plan::from_tensors(tensors.map(|index| (index, &model.tensors[index])))
}

/// A weight was read.
///
/// # Errors
/// When one of its files changed in the meantime.
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
