//! The measurements that depend on the order of elements, unlike counts: pages, windows, low bits, rows and
//! columns.

use super::correlation::ElementFormat;
use super::low_bits::{self, LowBits};
use super::magnitudes::Magnitudes;
use super::pages::Pages;
use super::windows::Windows;

/// How the structure of a tensor is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StructureLayout {
    /// The position of the first byte in its page: [`super::pages::phase`].
    pub phase: u32,
    /// How elements are read; `None` if only pages are measured.
    pub elements: Option<ElementFormat>,
    /// The number of elements in a row; 0 if rows are not measured.
    pub columns: u32,
}

/// The structure of a tensor or of a part of it. All parts but the last are whole blocks of 1 MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// The pages that the part touches.
    pub pages: Pages,
    /// The windows, if elements are read.
    pub windows: Option<Windows>,
    /// The low bits, if the elements have streams.
    pub low_bits: Option<LowBits>,
    /// The rows and columns, if they are measured.
    pub magnitudes: Option<Magnitudes>,
}

impl Structure {
    /// Creates an empty measurement of the bytes `start..start + len` of a tensor.
    pub fn for_range(layout: &StructureLayout, start: u64, len: u64) -> Structure {
        let elements = layout.elements.as_ref();
        Structure {
            pages: Pages::for_range(layout.phase, start, len),
            windows: elements.map(|elements| Windows::for_range(elements, start, len)),
            low_bits: elements
                .filter(|elements| low_bits::has_streams(elements))
                .map(|_| LowBits::for_range(start, len)),
            magnitudes: elements
                .filter(|_| layout.columns > 0)
                .map(|elements| Magnitudes::for_range(elements, layout.columns, start, len)),
        }
    }

    /// Runs the CPU twins of all kernels: adds `bytes`, which begin `start` bytes into the tensor and lie in
    /// one block. `start` is a multiple of [`crate::stream::source::PIECE_LEN`].
    pub fn add(&mut self, layout: &StructureLayout, start: u64, bytes: &[u8]) {
        self.pages.add(layout.phase, start, bytes);
        let Some(elements) = &layout.elements else { return };
        if let Some(windows) = &mut self.windows {
            windows.add(elements, start, bytes);
        }
        if let Some(low_bits) = &mut self.low_bits {
            low_bits.add(elements, start, bytes);
        }
        if let Some(magnitudes) = &mut self.magnitudes {
            magnitudes.add(elements, start, bytes);
        }
    }

    /// Adds the measurement of a part of this range.
    pub fn merge(&mut self, part: &Structure) {
        self.pages.merge(&part.pages);
        if let (Some(windows), Some(part)) = (&mut self.windows, &part.windows) {
            windows.merge(part);
        }
        if let (Some(low_bits), Some(part)) = (&mut self.low_bits, &part.low_bits) {
            low_bits.merge(part);
        }
        if let (Some(magnitudes), Some(part)) = (&mut self.magnitudes, &part.magnitudes) {
            magnitudes.merge(part);
        }
    }
}
