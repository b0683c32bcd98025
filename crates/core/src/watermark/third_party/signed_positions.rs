//! Places of a tensor with a sign each: what a key says of single elements.

use super::arrays::{Array, ArrayError, ArrayRole, NamedArrayError};
use super::key_directory::KeyDirectory;
use super::{MAX_PLACES, MeasurementContext};
use tensorseal_engine::RunError;
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_format::Tensor;
use tensorseal_weights::values::{PIECE_LEN, code, integer};

/// The longest window: a multiple of every width.
const WINDOW: u64 = 64 << 10;

/// Places and their signs, in order of the places: twice the place, plus one for a negative sign. At
/// most [`MAX_PLACES`].
pub(super) struct SignedPositions(Vec<u64>);

impl SignedPositions {
    /// Reads the two arrays of a key: different places, none of them twice, and a sign for each. Also
    /// returns the largest place.
    pub(super) fn check(
        shelf: &mut KeyDirectory<'_>,
        places: &str,
        signs: &Array,
    ) -> Result<(Array, u64), NamedArrayError> {
        let places = shelf.array(places, ArrayRole::Places)?;
        if places.len() != signs.len() {
            let shape = places.tensor.shape.clone();
            let wanted = format!("as many as there are signs ({}) are needed", signs.len());
            return Err(ArrayError::Shape { shape, wanted }.with_name(&places.name));
        }
        let read = shelf
            .with_files(&[&places, signs], |files| SignedPositions::read(files, &places, signs));
        let SignedPositions(read) =
            read.map_err(|error| ArrayError::from(error).with_name(&places.name))?;
        if let Some(pair) = read.windows(2).find(|pair| pair[0] >> 1 == pair[1] >> 1) {
            let what = format!("has the place {} twice", pair[0] >> 1);
            return Err(ArrayError::Unfit(what).with_name(&places.name));
        }
        let largest = read.last().map_or(0, |last| last >> 1);
        Ok((places, largest))
    }

    /// Reads places and signs that were checked.
    pub(super) fn read(
        files: &FileSet<'_>,
        places: &Array,
        signs: &Array,
    ) -> Result<Self, FileError> {
        let (of_places, of_signs) = (places.values(files), signs.values(files));
        let mut all = Vec::with_capacity(places.len().min(MAX_PLACES) as usize);
        for first in of_places.starts() {
            let bytes = of_places.bytes(first, PIECE_LEN)?;
            let places = bytes.chunks_exact(of_places.width());
            for (place, sign) in places.zip(of_signs.read(first, PIECE_LEN)?) {
                // Not negative, as was checked; a place of 2^62 or more is in no tensor.
                let place = integer(of_places.dtype(), code(place)).clamp(0, 1 << 62) as u64;
                all.push(place << 1 | u64::from(sign < 0.0));
            }
        }
        all.sort_unstable();
        Ok(Self(all))
    }

    /// Their number.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Places in order, each with whether its sign is negative.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, bool)> {
        self.0.iter().map(|one| (one >> 1, one & 1 == 1))
    }
}

/// Single elements of a tensor in ascending order, read a window at a time: of a large tensor only the
/// windows that hold one.
pub(super) struct ElementWindow<'a> {
    run: &'a MeasurementContext<'a>,
    files: &'a FileSet<'a>,
    tensor: &'a Tensor,
    width: u64,
    /// The first byte in the tensor of what is held.
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> ElementWindow<'a> {
    /// On a tensor whose elements take 1, 2, 4 or 8 bytes, in one of the files.
    pub(super) fn new(
        run: &'a MeasurementContext<'a>,
        files: &'a FileSet<'a>,
        tensor: &'a Tensor,
    ) -> Self {
        let width = u64::from(tensor.dtype.bits() / 8).max(1);
        Self { run, files, tensor, width, start: 0, bytes: Vec::new() }
    }

    /// The bits of an element; zero beyond the end, which the caller has checked.
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
