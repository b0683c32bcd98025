//! What a second look finds of a tensor.

use super::file_search::EmbeddedFile;
use serde::Serialize;

/// Positions kept one by one.
pub(super) const KEPT: usize = 16;

/// Elements of a tensor, by number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ElementPositions {
    /// How many.
    pub count: u64,
    /// The first ones, ascending.
    pub first: Vec<u64>,
    /// The last one.
    pub last: u64,
}

impl ElementPositions {
    pub(super) fn add(&mut self, element: u64) {
        self.count += 1;
        self.last = element;
        if self.first.len() < KEPT {
            self.first.push(element);
        }
    }

    /// Half-open range from the first to the last.
    pub fn hull(&self) -> Option<[u64; 2]> {
        self.first.first().map(|first| [*first, self.last + 1])
    }
}

/// A stretch of equal 32-bit words, in bytes of the tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConstantRun {
    /// First byte.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// The word.
    pub word: u32,
}

/// What a second look found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Localization {
    /// Values that are not finite.
    pub not_finite: ElementPositions,
    /// Values far above the usual ones.
    pub above: ElementPositions,
    /// Constant runs, followed to their ends.
    pub stretches: Vec<ConstantRun>,
    /// 32-bit types: share of the non-zero values of the first rows that occur again within their row.
    pub repeated: f64,
    /// Files in the low bits.
    pub hidden: Vec<EmbeddedFile>,
    /// Of a type of 32 bits: elements whose lower half is not zero, where most are.
    pub full_halves: ElementPositions,
}
