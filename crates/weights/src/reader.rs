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

    /// Elements `first..first + count` of a weight, in their Hugging Face order, finite or not. `count` is the caller's bound on the memory.
    ///
    /// # Errors
    /// When a file cannot be read or changed.
    pub fn read(&self, weight: &Weight, first: u64, count: usize) -> Result<Vec<f64>, FileError> {
        match &weight.form {
            Form::Arranged(arranged) => arranged.read(&self.stored, first, count),
            Form::Joined(joined) => joined.read(&self.stored, first, count),
            Form::Scheme(scheme) => {
                let columns = weight.shape.last().copied().unwrap_or(1).max(1);
                let (from, to) = (first / columns, (first + count as u64).div_ceil(columns));
                let rows = scheme.rows(&self.stored, from, to - from)?;
                let skip = (first - from * columns) as usize;
                Ok(rows.into_iter().skip(skip).take(count).collect())
            }
        }
    }

    /// The elements that are best read at once, a multiple of 512: pieces of a weight for threads.
    pub fn piece(weight: &Weight) -> u64 {
        match &weight.form {
            Form::Arranged(arranged) => arranged.piece(),
            Form::Joined(joined) => joined.piece(),
            Form::Scheme(scheme) => scheme.piece(),
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
