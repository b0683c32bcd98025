//! Elements of tensors by their number, counted row-major however they lie: values, and codes of integers.

use super::values::{Decoder, code};
use std::ops::Range;
use tensorseal_base::quantised;
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_format::{Checkpoint, Tensor, strides};

/// Elements between two that are read with them rather than apart.
const MIN_SEPARATION: u64 = 64;
/// Most elements that are read at once.
const LONGEST_STRETCH: u64 = 1 << 18;

/// The tensors of a model, and the files they are read from.
pub(crate) struct ElementReader<'a> {
    model: &'a Checkpoint,
    files: &'a FileSet<'a>,
}

impl<'a> ElementReader<'a> {
    /// Of a model.
    pub(crate) fn new(model: &'a Checkpoint, files: &'a FileSet<'a>) -> Self {
        Self { model, files }
    }

    /// The bytes of whole granules that hold elements `first..first + count`, and how many elements
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

    /// The bytes of elements that do not lie in their order, put in it. Zero for those that the tensor does
    /// not have.
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
        let mut stretch = Vec::new();
        let mut rest = &places[..];
        while let Some((start, _)) = rest.first().copied() {
            // What lies close together is read at once.
            let mut last = start;
            let is_near = |(at, _): &&(u64, usize)| {
                let near = *at - last <= MIN_SEPARATION && *at - start < LONGEST_STRETCH;
                last = *at;
                near
            };
            let run = rest.iter().take_while(is_near).count();
            let (now, later) = rest.split_at(run);
            rest = later;
            let until = now.last().map_or(start, |(at, _)| *at).saturating_add(1).min(stored);
            let len = until.saturating_sub(start).saturating_mul(width as u64) as usize;
            let from = tensor.offset.saturating_add(start.saturating_mul(width as u64));
            self.files.copy_into(tensor.file, from, len, &mut stretch)?;
            for (at, to) in now {
                let at = (*at - start) as usize * width;
                if let Some(element) = stretch.get(at..at + width) {
                    copy[to * width..(to + 1) * width].copy_from_slice(element);
                }
            }
        }
        Ok(())
    }

    /// The bytes of units `first..first + count`, into `copy`: elements of whole bytes, or the bytes of a type of less
    /// than one. Zero for those that the tensor does not have.
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

    /// The bytes of some units of some rows, where a row of the tensor has `row` of them.
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
        let it = &self.model.tensors[tensor];
        let (bytes, _) = it.dtype.granule();
        if it.strides.is_some() {
            let mut one = Vec::new();
            for at in rows {
                self.units(tensor, at * row + units.start, wide, &mut one)?;
                copy.extend_from_slice(&one);
            }
            return Ok(());
        }
        let source = self.files.source(it.file)?;
        let len = wide.saturating_mul(bytes);
        copy.reserve(high.saturating_mul(len) as usize);
        for (at, done) in rows.zip(1..) {
            let from = (at * row + units.start).saturating_mul(bytes).min(it.bytes);
            let has = len.min(it.bytes - from) as usize;
            source
                .read(it.offset + from, has, &mut |bytes| copy.extend_from_slice(bytes))
                .map_err(|error| self.files.name_error(it.file, error))?;
            copy.resize((done * len) as usize, 0);
        }
        Ok(())
    }

    /// The values of elements `first..first + count`, finite or not; zero for elements that the tensor
    /// does not have.
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
                let wanted = count - values.len();
                values.extend(block.iter().skip(skip).take(wanted).map(|v| f64::from(*v)));
                skip = 0;
            }
        } else if let Some(decoder) = Decoder::for_numbers(dtype) {
            let elements = copy.chunks_exact(decoder.width()).take(count);
            values.extend(elements.map(|element| decoder.value(element)));
        }
        values.resize(count, 0.0);
        Ok(values)
    }

    /// The values of whole elements of this tensor; none, if nothing reads its type.
    pub(crate) fn decoded(&self, tensor: usize, bytes: &[u8]) -> impl Iterator<Item = f64> {
        let decoder = Decoder::for_numbers(self.model.tensors[tensor].dtype);
        decoder.into_iter().flat_map(move |decoder| {
            bytes.chunks_exact(decoder.width()).map(move |element| decoder.value(element))
        })
    }

    /// The bits of elements of whole bytes; zero for those that the tensor does not have.
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

    /// A file of one tensor with elements from zero on.
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
