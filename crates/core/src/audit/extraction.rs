//! Extracts a stream of low bits to a file for an analyst. The extracted bytes are never executed or parsed.

use super::low_bit_stream::{BitOrder, LowBitStream, StreamExtractor};
use std::io::{self, Write};
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_engine::stream::plan::Plan;
use tensorseal_format::Checkpoint;

/// The number of bytes that are read at once.
const PIECE_LEN: u64 = 1 << 20;

/// A low-bit stream of a tensor that starts at one of its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamExtraction {
    /// The index of the tensor in [`Checkpoint::tensors`].
    pub tensor: usize,
    /// The bits that make up the stream.
    pub stream: LowBitStream,
    /// The index of the element with which the stream starts.
    pub element: u64,
}

/// An error while a stream is extracted.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The model could not be read, or changed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The stream could not be written.
    #[error("cannot write the extracted stream: {0}")]
    Write(#[from] io::Error),
}

impl StreamExtraction {
    /// Returns a file name for the stream, made of ASCII letters, digits, dots, dashes and underscores.
    pub fn file_name(&self, model: &Checkpoint) -> String {
        const MAX_NAME_LEN: usize = 100;
        let tensor = &model.tensors[self.tensor].name;
        let sanitise =
            |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let name: String = tensor.chars().take(MAX_NAME_LEN).map(sanitise).collect();
        let order = match self.stream.order {
            BitOrder::LowFirst => "low-first",
            BitOrder::HighFirst => "high-first",
        };
        format!("{}-{name}-{}-bits-{order}.bin", self.tensor, self.stream.bits)
    }

    /// Writes the bytes of the stream to `out`.
    ///
    /// # Errors
    /// Returns [`ExtractError::File`] if the model cannot be read or changed, and [`ExtractError::Write`] if `out` fails.
    pub fn write(&self, model: &Checkpoint, out: &mut dyn Write) -> Result<(), ExtractError> {
        let tensor = &model.tensors[self.tensor];
        let width = u64::from(tensor.dtype.bits() / 8).max(1);
        let plan = Plan::from_tensors([(self.tensor, tensor)].into_iter());
        let files = FileSet::new(&model.files, &plan);
        let mut extractor = StreamExtractor::new(self.stream, width as usize);
        let (mut piece, mut extracted) = (Vec::new(), Vec::new());
        let mut start = self.element.saturating_mul(width).min(tensor.bytes);
        while start < tensor.bytes {
            let len = PIECE_LEN.min(tensor.bytes - start);
            files.copy_into(tensor.file, tensor.offset + start, len as usize, &mut piece)?;
            extracted.clear();
            extractor.add(&piece, &mut extracted);
            out.write_all(&extracted)?;
            start += len;
        }
        files.object_done(tensor.file)?;
        Ok(())
    }
}
