//! The tensors of a module: those whose names differ in the last parts only.

use super::config::QuantisationConfig;
use crate::values::Decoder;
use std::collections::HashMap;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::{Checkpoint, Tensor, read_range, strides};

/// Longest tensor that says how others are kept.
const MAX_NOTE: u64 = 64 << 10;

/// A module: a weight, and what belongs to it.
pub(super) struct Module<'m> {
    pub model: &'m Checkpoint,
    /// Every tensor of a name: of several files of a directory.
    pub by_name: &'m HashMap<&'m str, Vec<usize>>,
    /// The file of the codes.
    pub file: usize,
    /// The name of its weight.
    pub weight: String,
    pub config: &'m QuantisationConfig,
}

/// Matrices that follow one another in a tensor, their rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MatrixDims {
    pub matrices: u64,
    pub rows: u64,
    pub columns: u64,
}

impl Module<'_> {
    /// The name of the module.
    pub(super) fn name(&self) -> &str {
        self.weight.strip_suffix(".weight").unwrap_or(&self.weight)
    }

    /// The tensor of another name than the weight's own, which ends `ending` in place of `weight`.
    pub(super) fn sibling(&self, ending: &str) -> Option<usize> {
        let stem = self.weight.strip_suffix("weight")?;
        self.named(&format!("{stem}{ending}"))
    }

    /// The tensor whose name is the weight's and `ending`.
    pub(super) fn child(&self, ending: &str) -> Option<usize> {
        self.named(&format!("{}{ending}", self.weight))
    }

    /// Of the file of the codes first: files of one directory may be models of their own.
    fn named(&self, name: &str) -> Option<usize> {
        let all = self.by_name.get(name)?;
        let here = all.iter().find(|index| self.model.tensors[**index].file == self.file);
        here.or(all.first()).copied()
    }

    /// Those of some names that are there, beside the weight.
    pub(super) fn siblings(&self, endings: &[&str]) -> Vec<usize> {
        endings.iter().filter_map(|ending| self.sibling(ending)).collect()
    }

    pub(super) fn tensor(&self, index: usize) -> &Tensor {
        &self.model.tensors[index]
    }

    /// Rows and columns of a matrix, or of several of one size in one tensor; none of them is zero.
    pub(super) fn dims(&self, index: usize) -> Option<MatrixDims> {
        let (outer, &[rows, columns]) = self.tensor(index).shape.split_last_chunk::<2>()?;
        let matrices = strides::element_count(outer)?;
        let dims = MatrixDims { matrices, rows, columns };
        (matrices > 0 && rows > 0 && columns > 0).then_some(dims)
    }

    /// Rows and columns of a tensor of two dimensions.
    pub(super) fn matrix(&self, index: usize) -> Option<[u64; 2]> {
        self.dims(index)
            .filter(|_| self.tensor(index).shape.len() == 2)
            .map(|d| [d.rows, d.columns])
    }

    pub(super) fn has_dtype(&self, index: usize, dtypes: &[Dtype]) -> bool {
        dtypes.contains(&self.tensor(index).dtype)
    }

    /// Number of the elements of a tensor.
    pub(super) fn elements(&self, index: usize) -> u64 {
        strides::element_count(&self.tensor(index).shape).unwrap_or(u64::MAX)
    }

    /// The first bytes of a tensor that lies in one piece, at most `most` of them.
    pub(super) fn leading_bytes(&self, index: usize, most: u64) -> Option<Vec<u8>> {
        let Tensor { file, offset, bytes, ref strides, .. } = *self.tensor(index);
        let most = bytes.min(most);
        if strides.is_some() {
            return None;
        }
        read_range(&self.model.files[file], offset, most)
    }

    /// The bytes of a short tensor.
    pub(super) fn metadata_bytes(&self, index: usize) -> Option<Vec<u8>> {
        if self.tensor(index).bytes > MAX_NOTE { None } else { self.leading_bytes(index, MAX_NOTE) }
    }

    /// The numbers in a short tensor.
    pub(super) fn numbers(&self, index: usize) -> Option<Vec<f64>> {
        let decoder = Decoder::for_numbers(self.tensor(index).dtype)?;
        let bytes = self.metadata_bytes(index)?;
        Some(bytes.chunks_exact(decoder.width()).map(|one| decoder.value(one)).collect())
    }

    /// The first numbers of a tensor, at most as many as fit in a short one.
    pub(super) fn first_numbers(&self, index: usize, count: u64) -> Option<Vec<f64>> {
        let decoder = Decoder::for_numbers(self.tensor(index).dtype)?;
        let bytes =
            self.leading_bytes(index, count.saturating_mul(decoder.width() as u64).min(MAX_NOTE))?;
        Some(bytes.chunks_exact(decoder.width()).map(|one| decoder.value(one)).collect())
    }

    /// The dimensions in a short tensor of integers.
    pub(super) fn shape_from(&self, index: usize) -> Option<Vec<u64>> {
        let len = |number: f64| {
            (number >= 1.0 && number <= 2f64.powi(52) && number.fract() == 0.0)
                .then_some(number as u64)
        };
        self.numbers(index)?.into_iter().map(len).collect()
    }
}
