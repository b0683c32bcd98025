//! The values of weights, piece by piece.

use super::stored::Stored;
use super::{Form, Weight};
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_engine::stream::plan::Plan;
use tensorseal_format::Checkpoint;

/// Reads weights of one model.
pub struct Reader<'a> {
    stored: Stored<'a>,
}

impl<'a> Reader<'a> {
    /// `files` are those of a plan that [`plan`] made.
    pub fn new(model: &'a Checkpoint, files: &'a FileSet<'a>) -> Self {
        Self { stored: Stored::new(model, files) }
    }

    /// Elements `first..first + count` of a weight, in their Hugging Face order, finite or not. `count` is the caller's
    /// bound on the memory.
    ///
    /// # Errors
    /// When a file cannot be read or changed.
    pub fn read(&self, weight: &Weight, first: u64, count: usize) -> Result<Vec<f64>, FileError> {
        match &weight.form {
            Form::Arranged(arranged) => arranged.read(&self.stored, first, count),
            Form::Scheme(_) => {
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
        match &weight.form {
            Form::Arranged(arranged) => {
                let read = arranged.read(&self.stored, first, values.len())?;
                values.iter_mut().zip(read).for_each(|(to, from)| *to = from as f32);
                Ok(())
            }
            Form::Scheme(part) => part.quantised.read(&self.stored, part.first + first, values),
        }
    }

    /// The elements that are best read at once, a multiple of 512: pieces of a weight for threads.
    pub fn piece(weight: &Weight) -> u64 {
        match &weight.form {
            Form::Arranged(arranged) => arranged.piece(),
            Form::Scheme(part) => part.quantised.piece(),
        }
    }
}

/// What is read of a model for these weights: for each, all of its tensors. Who has read a weight says so
/// with [`done`].
pub fn plan<'a>(model: &Checkpoint, weights: impl Iterator<Item = &'a Weight>) -> Plan {
    let tensors = weights.flat_map(|weight| weight.tensors());
    Plan::of_tensors(tensors.map(|index| (index, &model.tensors[index])))
}

/// A weight was read.
///
/// # Errors
/// When one of its files changed in the meantime.
pub fn done(model: &Checkpoint, files: &FileSet<'_>, weight: &Weight) -> Result<(), FileError> {
    for index in weight.tensors().iter() {
        files.object_done(model.tensors[*index].file)?;
    }
    Ok(())
}
