//! Positions of a tensor with a sign each, and access to single elements.

use super::arrays::{Array, ArrayError, ArrayRole, NamedArrayError};
use super::key_directory::KeyDirectory;
use super::{MAX_POSITIONS, MeasurementContext};
use tensorseal_engine::RunError;
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_format::Tensor;
use tensorseal_weights::values::{PIECE_LEN, code, integer};

/// The maximum length of a window in bytes: a multiple of every element width.
const WINDOW: u64 = 64 << 10;

/// At most [`MAX_POSITIONS`] positions with their signs, in order: twice the position, plus one for a negative sign.
pub(super) struct SignedPositions(Vec<u64>);

impl SignedPositions {
    /// Reads and checks the two arrays of a key: distinct positions, and a sign for each. Also returns the largest
    /// position.
    pub(super) fn check(
        directory: &mut KeyDirectory<'_>,
        positions: &str,
        signs: &Array,
    ) -> Result<(Array, u64), NamedArrayError> {
        let positions = directory.array(positions, ArrayRole::Positions)?;
        if positions.len() != signs.len() {
            let shape = positions.tensor.shape.clone();
            let expected = format!("one position for each of the {} signs is needed", signs.len());
            return Err(ArrayError::Shape { shape, expected }.with_name(&positions.name));
        }
        let read = directory.with_files(&[&positions, signs], |files| {
            SignedPositions::read(files, &positions, signs)
        });
        let SignedPositions(read) =
            read.map_err(|error| ArrayError::from(error).with_name(&positions.name))?;
        if let Some(pair) = read.windows(2).find(|pair| pair[0] >> 1 == pair[1] >> 1) {
            let what = format!("contains the position {} twice", pair[0] >> 1);
            return Err(ArrayError::Unfit(what).with_name(&positions.name));
        }
        let largest = read.last().map_or(0, |last| last >> 1);
        Ok((positions, largest))
    }

    /// Reads positions and signs that were checked.
    pub(super) fn read(
        files: &FileSet<'_>,
        positions: &Array,
        signs: &Array,
    ) -> Result<Self, FileError> {
        let (position_values, sign_values) = (positions.values(files), signs.values(files));
        let mut all = Vec::with_capacity(positions.len().min(MAX_POSITIONS) as usize);
        for first in position_values.starts() {
            let bytes = position_values.bytes(first, PIECE_LEN)?;
            let elements = bytes.chunks_exact(position_values.width());
            for (element, sign) in elements.zip(sign_values.read(first, PIECE_LEN)?) {
                // Positions are not negative, as was checked; one of 2^62 or more is in no tensor.
                let position =
                    integer(position_values.dtype(), code(element)).clamp(0, 1 << 62) as u64;
                all.push(position << 1 | u64::from(sign < 0.0));
            }
        }
        all.sort_unstable();
        Ok(Self(all))
    }

    /// Returns the number of positions.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the positions in order, each with whether its sign is negative.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, bool)> {
        self.0.iter().map(|one| (one >> 1, one & 1 == 1))
    }
}

/// Reads single elements of a tensor in ascending order. Only the windows that contain one are read.
pub(super) struct ElementWindow<'a> {
    run: &'a MeasurementContext<'a>,
    files: &'a FileSet<'a>,
    tensor: &'a Tensor,
    width: u64,
    /// The position in the tensor of the first byte in the buffer.
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> ElementWindow<'a> {
    /// Creates a window on a tensor in one of the files. Its elements have 1, 2, 4 or 8 bytes.
    pub(super) fn new(
        run: &'a MeasurementContext<'a>,
        files: &'a FileSet<'a>,
        tensor: &'a Tensor,
    ) -> Self {
        let width = u64::from(tensor.dtype.bits() / 8).max(1);
        Self { run, files, tensor, width, start: 0, bytes: Vec::new() }
    }

    /// Returns the bits of an element; zero beyond the end, which the caller has checked.
    pub(super) fn code(&mut self, element: u64) -> Result<u64, RunError> {
        let at = element.saturating_mul(self.width);
        if at >= self.tensor.bytes {
            return Ok(0);
        }
        if at < self.start || at - self.start >= self.bytes.len() as u64 {
            self.start = at / WINDOW * WINDOW;
            self.fill()?;
        }
        let at = (at - self.start) as usize;
        Ok(code(self.bytes.get(at..at + self.width as usize).unwrap_or_default()))
    }

    fn fill(&mut self) -> Result<(), RunError> {
        if self.run.progress.stopped() {
            return Err(RunError::Interrupted);
        }
        let len = (self.tensor.bytes - self.start).min(WINDOW);
        let Tensor { file, offset, .. } = *self.tensor;
        self.files.copy_into(file, offset + self.start, len as usize, &mut self.bytes)?;
        Ok(())
    }
}
