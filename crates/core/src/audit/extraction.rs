//! Writes a stream of low bits out, for somebody who has to say what it is. Nothing is run or opened.

use super::low_bit_stream::{BitOrder, LowBitStream, StreamExtractor};
use std::io::{self, Write};
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_engine::stream::plan::Plan;
use tensorseal_format::Checkpoint;

/// Bytes that are read at once.
const PIECE_LEN: u64 = 1 << 20;

/// A stream of a tensor, from one of its elements on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamExtraction {
    /// Index into [`Checkpoint::tensors`].
    pub tensor: usize,
    /// The stream.
    pub stream: LowBitStream,
    /// The element it begins with.
    pub element: u64,
}

/// Why a stream could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The model could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The stream could not be written.
    #[error("cannot write a stream: {0}")]
    Write(#[from] io::Error),
}

impl StreamExtraction {
    /// A name for its file, made of letters, digits, dots, dashes and underscores.
    pub fn file_name(&self, model: &Checkpoint) -> String {
        const LONGEST: usize = 100;
        let tensor = &model.tensors[self.tensor].name;
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let name: String = tensor.chars().take(LONGEST).map(plain).collect();
        let order = match self.stream.order {
            BitOrder::LowFirst => "low-first",
            BitOrder::HighFirst => "high-first",
        };
        format!("{}-{name}-{}-bits-{order}.bin", self.tensor, self.stream.bits)
    }

    /// Writes the stream.
    ///
    /// # Errors
    /// When the model cannot be read or changed, or `out` fails.
    pub fn write(&self, model: &Checkpoint, out: &mut dyn Write) -> Result<(), ExtractError> {
        let tensor = &model.tensors[self.tensor];
        let width = u64::from(tensor.dtype.bits() / 8).max(1);
        let plan = Plan::from_tensors([(self.tensor, tensor)].into_iter());
        let files = FileSet::new(&model.files, &plan);
        let mut extractor = StreamExtractor::new(self.stream, width as usize);
        let (mut piece, mut made) = (Vec::new(), Vec::new());
        let mut start = self.element.saturating_mul(width).min(tensor.bytes);
        while start < tensor.bytes {
            let len = PIECE_LEN.min(tensor.bytes - start);
            files.copy_into(tensor.file, tensor.offset + start, len as usize, &mut piece)?;
            made.clear();
            extractor.add(&piece, &mut made);
            out.write_all(&made)?;
            start += len;
        }
        files.object_done(tensor.file)?;
        Ok(())
    }
}
