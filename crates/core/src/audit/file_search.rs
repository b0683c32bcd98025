//! Searches the low-bit streams of a tensor for embedded files, while the tensor is read piece by piece.

use super::low_bit_stream::{LowBitStream, StreamExtractor, searched_streams};
use super::magic;

/// A file that begins in a low-bit stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedFile {
    /// The stream that holds the file.
    pub stream: LowBitStream,
    /// The index of the element with which the file begins.
    pub element: u64,
    /// The kind of file, in words.
    pub kind: &'static str,
}

/// The search for the first file in one stream.
struct StreamSearch {
    stream: LowBitStream,
    /// The number of elements at the tensor's start that the stream leaves out.
    shift: u64,
    /// The number of bytes of these elements that are still to be skipped.
    left_to_skip: usize,
    extractor: StreamExtractor,
    /// The end of the last piece, in which a signature may have begun.
    tail: Vec<u8>,
    /// The number of bytes of the stream before the tail.
    position: u64,
    found: Option<EmbeddedFile>,
}

/// The search for files in all streams of a tensor.
pub struct FileSearch {
    searches: Vec<StreamSearch>,
    /// A buffer for the bytes of one stream, which is reused.
    buffer: Vec<u8>,
}

impl FileSearch {
    /// Creates the search for a tensor with elements of `width` bytes, 2 or 4.
    pub fn new(width: usize) -> FileSearch {
        let search = |(stream, shift): (LowBitStream, usize)| StreamSearch {
            stream,
            shift: shift as u64,
            left_to_skip: shift * width,
            extractor: StreamExtractor::new(stream, width),
            tail: Vec::new(),
            position: 0,
            found: None,
        };
        FileSearch { searches: searched_streams(width).map(search).collect(), buffer: Vec::new() }
    }

    /// Searches the next piece of the tensor, which is a whole number of elements.
    pub fn add(&mut self, piece: &[u8]) {
        for search in self.searches.iter_mut().filter(|search| search.found.is_none()) {
            search.add(piece, &mut self.buffer);
        }
    }

    /// Returns the first file of each stream.
    pub fn found(self) -> Vec<EmbeddedFile> {
        self.searches.into_iter().filter_map(|search| search.found).collect()
    }
}

impl StreamSearch {
    fn add(&mut self, piece: &[u8], stream: &mut Vec<u8>) {
        let (out, piece) = piece.split_at(self.left_to_skip.min(piece.len()));
        self.left_to_skip -= out.len();
        stream.clear();
        stream.append(&mut self.tail);
        self.extractor.add(piece, stream);
        self.found = magic::find(stream).map(|(at, kind)| {
            let bit = 8 * (self.position + at as u64);
            let element = self.shift + bit / u64::from(self.stream.bits);
            EmbeddedFile { stream: self.stream, element, kind }
        });
        let done = stream.len().saturating_sub(magic::MAX_SIGNATURE_LEN);
        self.tail.extend_from_slice(&stream[done..]);
        self.position += done as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_file_is_found_wherever_it_begins_and_however_it_is_read(
            element in 0usize..3000,
            bits in 1u32..=8,
            piece in 1usize..2000,
        ) {
            let payload = b"#!/bin/sh\n# long enough";
            let mut words = vec![0u16; 6000];
            for (at, bit) in (0..8 * payload.len()).map(|i| (i, payload[i / 8] >> (i % 8) & 1)) {
                words[element + at / bits as usize] |= u16::from(bit) << (at % bits as usize);
            }
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let mut searches = FileSearch::new(2);
            bytes.chunks(2 * piece).for_each(|part| searches.add(part));
            let found = searches.found();
            let is_payload = |h: &EmbeddedFile| (h.stream.bits, h.element, h.kind) == (bits, element as u64, "script");
            prop_assert!(found.iter().any(is_payload), "{found:?}");
        }
    }
}
