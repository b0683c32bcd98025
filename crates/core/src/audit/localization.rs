//! Where in a tensor a second look finds unusual values, constant runs and embedded files.

use super::file_search::EmbeddedFile;
use serde::Serialize;

/// The number of positions that are kept one by one.
pub(super) const MAX_KEPT: usize = 16;

/// The positions of some elements of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ElementPositions {
    /// The number of elements.
    pub count: u64,
    /// The indices of the first elements, ascending.
    pub first: Vec<u64>,
    /// The index of the last element.
    pub last: u64,
}

impl ElementPositions {
    pub(super) fn add(&mut self, element: u64) {
        self.count += 1;
        self.last = element;
        if self.first.len() < MAX_KEPT {
            self.first.push(element);
        }
    }

    /// Returns the half-open range of indices from the first to the last element, or `None` if there are none.
    pub fn hull(&self) -> Option<[u64; 2]> {
        self.first.first().map(|first| [*first, self.last + 1])
    }
}

/// A run of equal 32-bit words in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConstantRun {
    /// The position of the first byte in the tensor.
    pub start: u64,
    /// The position after the last byte in the tensor.
    pub end: u64,
    /// The repeated word, little-endian.
    pub word: u32,
}

/// What a second look found in a tensor.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Localization {
    /// The elements that are NaN or infinite.
    pub not_finite: ElementPositions,
    /// The elements whose values lie far above the usual ones.
    pub outliers: ElementPositions,
    /// Constant runs, extended to their exact ends.
    pub constant_runs: Vec<ConstantRun>,
    /// The share (0 to 1) of the non-zero values in the first rows that repeat within their row; 32-bit types only.
    pub repeated_share: f64,
    /// Files that begin in the low bits.
    pub embedded_files: Vec<EmbeddedFile>,
    /// The elements whose lower 16 bits are not zero, in a tensor where most lower halves are zero; 32-bit types only.
    pub nonzero_lower_halves: ElementPositions,
}
