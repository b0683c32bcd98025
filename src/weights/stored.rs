//! Elements of tensors by their number: values, and codes of integers.

use super::values::{Decoder, code};
use crate::checkpoint::Checkpoint;
use crate::quantised;
use crate::stream::files::{FileError, FileSet};

/// The tensors of a model, and the files they are read from.
pub struct Stored<'a> {
    model: &'a Checkpoint,
    files: &'a FileSet<'a>,
}

impl<'a> Stored<'a> {
    /// Of a model.
    pub fn new(model: &'a Checkpoint, files: &'a FileSet<'a>) -> Self {
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
        let (bytes, elements) = tensor.dtype.granule();
        let from = (first / elements).saturating_mul(bytes).min(tensor.bytes);
        let end = first.saturating_add(count as u64).div_ceil(elements).saturating_mul(bytes);
        let len = end.min(tensor.bytes).saturating_sub(from) as usize;
        self.files.copy_into(tensor.file, tensor.offset + from, len, copy)?;
        Ok((first % elements) as usize)
    }

    /// The values of elements `first..first + count`, finite or not; zero for elements that the tensor
    /// does not have.
    pub fn values(&self, tensor: usize, first: u64, count: usize) -> Result<Vec<f64>, FileError> {
        let mut copy = Vec::new();
        let skip = self.bytes(tensor, first, count, &mut copy)?;
        let dtype = self.model.tensors[tensor].dtype;
        let mut values = Vec::with_capacity(count);
        if dtype.is_blocks() {
            let (bytes, elements) = dtype.granule();
            let mut block = vec![0.0f32; elements as usize];
            let mut skip = skip;
            for coded in copy.chunks_exact(bytes as usize) {
                quantised::decode(dtype, coded, &mut block);
                let wanted = count - values.len();
                values.extend(block.iter().skip(skip).take(wanted).map(|v| f64::from(*v)));
                skip = 0;
            }
        } else if let Some(decoder) = Decoder::of_numbers(dtype) {
            let elements = copy.chunks_exact(decoder.width()).take(count);
            values.extend(elements.map(|element| decoder.value(element)));
        }
        values.resize(count, 0.0);
        Ok(values)
    }

    /// The bits of elements of whole bytes; zero for those that the tensor does not have.
    pub fn codes(&self, tensor: usize, first: u64, count: usize) -> Result<Vec<u64>, FileError> {
        let mut copy = Vec::new();
        self.bytes(tensor, first, count, &mut copy)?;
        let (width, _) = self.model.tensors[tensor].dtype.granule();
        let mut codes: Vec<u64> = copy.chunks_exact(width as usize).map(code).collect();
        codes.resize(count, 0);
        Ok(codes)
    }
}
