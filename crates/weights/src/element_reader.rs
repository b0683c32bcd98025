//! Reads elements of tensors by their row-major number, whatever their strides: values, and codes as integers.

use super::values::{Decoder, code};
use std::ops::Range;
use tensorseal_base::quantised;
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_format::{Checkpoint, Tensor, strides};

/// Elements at most this far apart are read at once.
const MIN_SEPARATION: u64 = 64;
/// The maximum number of elements that are read at once.
const MAX_SPAN: u64 = 1 << 18;

/// Reads elements of the tensors of a model.
pub(crate) struct ElementReader<'a> {
    model: &'a Checkpoint,
    files: &'a FileSet<'a>,
}

impl<'a> ElementReader<'a> {
    /// Creates a reader for the tensors of `model`, whose files are `files`.
    pub(crate) fn new(model: &'a Checkpoint, files: &'a FileSet<'a>) -> Self {
        Self { model, files }
    }

    /// Reads the whole granules that contain elements `first..first + count` into `copy`. Returns how many elements
    /// before `first` they begin with.
    fn bytes(
        &self,
        tensor: usize,
        first: u64,
        count: usize,
        copy: &mut Vec<u8>,
    ) -> Result<usize, FileError> {
        let tensor = &self.model.tensors[tensor];
        if let Some(strides) = &tensor.strides {
            self.gather(tensor, strides, first, count, copy)?;
            return Ok(0);
        }
        let (bytes, elements) = tensor.dtype.granule();
        let from = (first / elements).saturating_mul(bytes).min(tensor.bytes);
        let end = first.saturating_add(count as u64).div_ceil(elements).saturating_mul(bytes);
        let len = end.min(tensor.bytes).saturating_sub(from) as usize;
        self.files.copy_into(tensor.file, tensor.offset + from, len, copy)?;
        Ok((first % elements) as usize)
    }

    /// Reads elements of a tensor with strides, in row-major order. Elements past the end of the tensor are zero.
    fn gather(
        &self,
        tensor: &Tensor,
        strides: &[u64],
        first: u64,
        count: usize,
        copy: &mut Vec<u8>,
    ) -> Result<(), FileError> {
        let width = (tensor.dtype.bits() / 8).max(1) as usize;
        copy.clear();
        copy.resize(count.saturating_mul(width), 0);
        let all = strides::element_count(&tensor.shape).unwrap_or(u64::MAX);
        let end = first.saturating_add(count as u64).min(all);
        let mut places: Vec<(u64, usize)> = (first..end)
            .zip(0..)
            .map(|(element, to)| (strides::stored_position(&tensor.shape, strides, element), to))
            .collect();
        places.sort_unstable();
        let stored = tensor.bytes / width as u64;
        let mut span = Vec::new();
        let mut rest = &places[..];
        while let Some((start, _)) = rest.first().copied() {
            // Elements that are close together are read at once.
            let mut last = start;
            let is_near = |(at, _): &&(u64, usize)| {
                let near = *at - last <= MIN_SEPARATION && *at - start < MAX_SPAN;
                last = *at;
                near
            };
            let run = rest.iter().take_while(is_near).count();
            let (now, later) = rest.split_at(run);
            rest = later;
            let until = now.last().map_or(start, |(at, _)| *at).saturating_add(1).min(stored);
            let len = until.saturating_sub(start).saturating_mul(width as u64) as usize;
            let from = tensor.offset.saturating_add(start.saturating_mul(width as u64));
            self.files.copy_into(tensor.file, from, len, &mut span)?;
            for (at, to) in now {
                let at = (*at - start) as usize * width;
                if let Some(element) = span.get(at..at + width) {
                    copy[to * width..(to + 1) * width].copy_from_slice(element);
                }
            }
        }
        Ok(())
    }

    /// Reads units `first..first + count` into `copy`. Units are elements, or the bytes of types with elements of less
    /// than a byte. Units past the end of the tensor are zero.
    pub(crate) fn units(
        &self,
        tensor: usize,
        first: u64,
        count: u64,
        copy: &mut Vec<u8>,
    ) -> Result<(), FileError> {
        let (bytes, elements) = self.model.tensors[tensor].dtype.granule();
        let first = first.saturating_mul(elements);
        self.bytes(tensor, first, count.saturating_mul(elements) as usize, copy)?;
        copy.resize((count.saturating_mul(bytes)) as usize, 0);
        Ok(())
    }

    /// Reads a range of units of each of a range of rows, if a row of the tensor has `row` units.
    pub(crate) fn units_of_rows(
        &self,
        tensor: usize,
        row: u64,
        rows: Range<u64>,
        units: Range<u64>,
        copy: &mut Vec<u8>,
    ) -> Result<(), FileError> {
        let (wide, high) = (units.end - units.start, rows.end - rows.start);
        if wide == row || high == 1 {
            return self.units(tensor, rows.start * row + units.start, high * wide, copy);
        }
        copy.clear();
        let stored = &self.model.tensors[tensor];
        let (bytes, _) = stored.dtype.granule();
        if stored.strides.is_some() {
            let mut one = Vec::new();
            for at in rows {
                self.units(tensor, at * row + units.start, wide, &mut one)?;
                copy.extend_from_slice(&one);
            }
            return Ok(());
        }
        let source = self.files.source(stored.file)?;
        let len = wide.saturating_mul(bytes);
        copy.reserve(high.saturating_mul(len) as usize);
        for (at, done) in rows.zip(1..) {
            let from = (at * row + units.start).saturating_mul(bytes).min(stored.bytes);
            let has = len.min(stored.bytes - from) as usize;
            source
                .read(stored.offset + from, has, &mut |bytes| copy.extend_from_slice(bytes))
                .map_err(|error| self.files.name_error(stored.file, error))?;
            copy.resize((done * len) as usize, 0);
        }
        Ok(())
    }

    /// Returns the values of elements `first..first + count`, finite or not. Elements past the end of the tensor are
    /// zero.
    pub(crate) fn values(
        &self,
        tensor: usize,
        first: u64,
        count: usize,
    ) -> Result<Vec<f64>, FileError> {
        let mut copy = Vec::new();
        let skip = self.bytes(tensor, first, count, &mut copy)?;
        let dtype = self.model.tensors[tensor].dtype;
        let mut values = Vec::with_capacity(count);
        if dtype.is_block_quantised() {
            let (bytes, elements) = dtype.granule();
            let mut block = vec![0.0f32; elements as usize];
            let mut skip = skip;
            for coded in copy.chunks_exact(bytes as usize) {
                quantised::decode_block(dtype, coded, &mut block);
                let remaining = count - values.len();
                values.extend(block.iter().skip(skip).take(remaining).map(|v| f64::from(*v)));
                skip = 0;
            }
        } else if let Some(decoder) = Decoder::for_numbers(dtype) {
            let elements = copy.chunks_exact(decoder.width()).take(count);
            values.extend(elements.map(|element| decoder.value(element)));
        }
        values.resize(count, 0.0);
        Ok(values)
    }

    /// Decodes whole elements of this tensor; returns no values if its type is not supported.
    pub(crate) fn decoded(&self, tensor: usize, bytes: &[u8]) -> impl Iterator<Item = f64> {
        let decoder = Decoder::for_numbers(self.model.tensors[tensor].dtype);
        decoder.into_iter().flat_map(move |decoder| {
            bytes.chunks_exact(decoder.width()).map(move |element| decoder.value(element))
        })
    }

    /// Returns the bits of elements of whole bytes. Elements past the end of the tensor are zero.
    pub(crate) fn codes(
        &self,
        tensor: usize,
        first: u64,
        count: usize,
    ) -> Result<Vec<u64>, FileError> {
        let mut copy = Vec::new();
        self.bytes(tensor, first, count, &mut copy)?;
        let (width, _) = self.model.tensors[tensor].dtype.granule();
        let mut codes: Vec<u64> = copy.chunks_exact(width as usize).map(code).collect();
        codes.resize(count, 0);
        Ok(codes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
    use tensorseal_engine::stream::plan::Plan;
    use tensorseal_format::OpenOptions;

    /// Writes a file of one tensor with the elements 0, 1, 2, …
    fn counted(elements: u16) -> (tempfile::TempDir, Checkpoint) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let data: Vec<u8> = (0..elements).flat_map(u16::to_le_bytes).collect();
        let view = TensorView::new(Dtype::U16, vec![elements.into()], &data).unwrap();
        serialize_to_file([("x", view)], None, &path).unwrap();
        let model = Checkpoint::open(&path, &OpenOptions::default()).unwrap();
        (dir, model)
    }

    proptest! {
        #[test]
        fn elements_come_in_the_order_of_their_dimensions(
            dimensions in prop::collection::vec((1u64..6, 0u64..90), 0..4),
            first in 0u64..150,
            count in 0usize..150,
        ) {
            let (shape, strides): (Vec<u64>, Vec<u64>) = dimensions.into_iter().unzip();
            let span = strides::stored_element_count(&shape, Some(&strides)).unwrap();
            let (_dir, mut model) = counted(span as u16);
            let tensor = &mut model.tensors[0];
            tensor.strides = strides::canonical_strides(&shape, &strides);
            tensor.shape = shape.clone();
            let plan = Plan::from_tensors(model.tensors.iter().enumerate());
            let files = FileSet::new(&model.files, &plan);
            let stored = ElementReader::new(&model, &files);
            let all = strides::element_count(&shape).unwrap();
            let expected: Vec<u64> = (first..first + count as u64)
                .map(|element| match element < all {
                    true => strides::stored_position(&shape, &strides, element),
                    false => 0,
                })
                .collect();
            prop_assert_eq!(stored.codes(0, first, count).unwrap(), expected.clone());
            let values: Vec<f64> = expected.into_iter().map(|code| code as f64).collect();
            prop_assert_eq!(stored.values(0, first, count).unwrap(), values);
        }
    }
}
