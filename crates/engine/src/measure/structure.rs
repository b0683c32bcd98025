//! Everything that is measured of the order of a tensor's elements, where counts see none: pages,
//! windows, low bits, rows and columns.

use super::correlation::ElementFormat;
use super::low_bits::{self, LowBits};
use super::magnitudes::Magnitudes;
use super::pages::Pages;
use super::windows::Windows;

/// How the structure of a tensor is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StructureLayout {
    /// Position of its first byte in its first page: [`super::pages::phase`].
    pub phase: u32,
    /// How its elements are read; `None`: only its pages are measured.
    pub elements: Option<ElementFormat>,
    /// Elements of a row; zero: its rows are not measured.
    pub columns: u32,
}

/// The structure of a tensor or of a part of it. Parts are whole blocks of 1 MiB and the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// The pages it touches.
    pub pages: Pages,
    /// Its windows, if it has elements.
    pub windows: Option<Windows>,
    /// Its low bits, if its elements have streams.
    pub low_bits: Option<LowBits>,
    /// Its rows and columns, if they are measured.
    pub magnitudes: Option<Magnitudes>,
}

impl Structure {
    /// Of the bytes `start..start + len` of a tensor, nothing seen yet.
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

    /// The CPU twins of all its kernels: adds `bytes`, which begin `start` bytes into the tensor and
    /// lie in one block. `start` is a multiple of [`crate::stream::source::PIECE_LEN`].
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

    /// Adds another part of the same tensor: it lies inside.
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
