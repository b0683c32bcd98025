//! The tensors of a module, whose names differ only in their last components.

use super::config::QuantisationConfig;
use crate::values::Decoder;
use std::collections::HashMap;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::{Checkpoint, Tensor, read_range, strides};

/// The maximum length in bytes of a tensor that describes how others are stored.
const MAX_METADATA: u64 = 64 << 10;

/// A module: a weight and the other tensors of its layer.
pub(super) struct Module<'m> {
    pub model: &'m Checkpoint,
    /// All tensors by name; several files of a directory may have tensors of the same name.
    pub by_name: &'m HashMap<&'m str, Vec<usize>>,
    /// The file of the codes.
    pub file: usize,
    /// The name of the weight.
    pub weight: String,
    pub config: &'m QuantisationConfig,
}

/// The dimensions of consecutive matrices in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MatrixDims {
    pub matrices: u64,
    pub rows: u64,
    pub columns: u64,
}

impl Module<'_> {
    /// Returns the name of the module.
    pub(super) fn name(&self) -> &str {
        self.weight.strip_suffix(".weight").unwrap_or(&self.weight)
    }

    /// Returns the tensor whose name is that of the weight with `ending` in place of the final `weight`.
    pub(super) fn sibling(&self, ending: &str) -> Option<usize> {
        let stem = self.weight.strip_suffix("weight")?;
        self.named(&format!("{stem}{ending}"))
    }

    /// Returns the tensor whose name is that of the weight followed by `ending`.
    pub(super) fn child(&self, ending: &str) -> Option<usize> {
        self.named(&format!("{}{ending}", self.weight))
    }

    /// Returns the tensor of this name, in the file of the codes if possible, because the files of a directory may be
    /// separate models.
    fn named(&self, name: &str) -> Option<usize> {
        let all = self.by_name.get(name)?;
        let here = all.iter().find(|index| self.model.tensors[**index].file == self.file);
        here.or(all.first()).copied()
    }

    /// Returns the siblings with these endings that exist.
    pub(super) fn siblings(&self, endings: &[&str]) -> Vec<usize> {
        endings.iter().filter_map(|ending| self.sibling(ending)).collect()
    }

    pub(super) fn tensor(&self, index: usize) -> &Tensor {
        &self.model.tensors[index]
    }

    /// Returns the dimensions of one or more matrices in a tensor; none is zero.
    pub(super) fn dims(&self, index: usize) -> Option<MatrixDims> {
        let (outer, &[rows, columns]) = self.tensor(index).shape.split_last_chunk::<2>()?;
        let matrices = strides::element_count(outer)?;
        let dims = MatrixDims { matrices, rows, columns };
        (matrices > 0 && rows > 0 && columns > 0).then_some(dims)
    }

    /// Returns the rows and columns of a tensor with two dimensions.
    pub(super) fn matrix(&self, index: usize) -> Option<[u64; 2]> {
        self.dims(index)
            .filter(|_| self.tensor(index).shape.len() == 2)
            .map(|d| [d.rows, d.columns])
    }

    pub(super) fn has_dtype(&self, index: usize, dtypes: &[Dtype]) -> bool {
        dtypes.contains(&self.tensor(index).dtype)
    }

    /// Returns the number of elements of a tensor.
    pub(super) fn elements(&self, index: usize) -> u64 {
        strides::element_count(&self.tensor(index).shape).unwrap_or(u64::MAX)
    }

    /// Returns the first bytes of a contiguous tensor, at most `max_len` of them.
    pub(super) fn leading_bytes(&self, index: usize, max_len: u64) -> Option<Vec<u8>> {
        let Tensor { file, offset, bytes, ref strides, .. } = *self.tensor(index);
        let len = bytes.min(max_len);
        if strides.is_some() {
            return None;
        }
        read_range(&self.model.files[file], offset, len)
    }

    /// Returns the bytes of a short tensor.
    pub(super) fn metadata_bytes(&self, index: usize) -> Option<Vec<u8>> {
        if self.tensor(index).bytes > MAX_METADATA {
            None
        } else {
            self.leading_bytes(index, MAX_METADATA)
        }
    }

    /// Returns the numbers in a short tensor.
    pub(super) fn numbers(&self, index: usize) -> Option<Vec<f64>> {
        let decoder = Decoder::for_numbers(self.tensor(index).dtype)?;
        let bytes = self.metadata_bytes(index)?;
        Some(bytes.chunks_exact(decoder.width()).map(|one| decoder.value(one)).collect())
    }

    /// Returns the first `count` numbers of a tensor, at most as many as a short tensor may have.
    pub(super) fn first_numbers(&self, index: usize, count: u64) -> Option<Vec<f64>> {
        let decoder = Decoder::for_numbers(self.tensor(index).dtype)?;
        let bytes = self
            .leading_bytes(index, count.saturating_mul(decoder.width() as u64).min(MAX_METADATA))?;
        Some(bytes.chunks_exact(decoder.width()).map(|one| decoder.value(one)).collect())
    }

    /// Returns the dimensions that a short tensor of integers states.
    pub(super) fn shape_from(&self, index: usize) -> Option<Vec<u64>> {
        let len = |number: f64| {
            (number >= 1.0 && number <= 2f64.powi(52) && number.fract() == 0.0)
                .then_some(number as u64)
        };
        self.numbers(index)?.into_iter().map(len).collect()
    }
}
