//! Looking for files in the streams of a tensor that is read piece by piece.

use super::low_bit_stream::{LowBitStream, StreamExtractor, searched};
use super::magic;

/// A file that begins in a stream of low bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedFile {
    /// The stream.
    pub stream: LowBitStream,
    /// Element with which the file begins.
    pub element: u64,
    /// What kind of file.
    pub kind: &'static str,
}

/// The search of one stream, for the first file in it.
struct StreamSearch {
    stream: LowBitStream,
    /// Elements that are left out at the tensor's start.
    shift: u64,
    /// Bytes of those that are still to come.
    left_out: usize,
    extractor: StreamExtractor,
    /// What a signature may need of the end of the last piece.
    tail: Vec<u8>,
    /// Bytes of the stream before the tail.
    passed: u64,
    found: Option<EmbeddedFile>,
}

/// The search of all streams.
pub struct FileSearch {
    all: Vec<StreamSearch>,
    /// The stream at hand: used again and again.
    buffer: Vec<u8>,
}

impl FileSearch {
    /// Of elements of `width` bytes, 2 or 4.
    pub fn new(width: usize) -> FileSearch {
        let search = |(stream, shift): (LowBitStream, usize)| StreamSearch {
            stream,
            shift: shift as u64,
            left_out: shift * width,
            extractor: StreamExtractor::new(stream, width),
            tail: Vec::new(),
            passed: 0,
            found: None,
        };
        FileSearch { all: searched(width).map(search).collect(), buffer: Vec::new() }
    }

    /// Searches the next piece of the tensor, a whole number of elements.
    pub fn add(&mut self, piece: &[u8]) {
        for search in self.all.iter_mut().filter(|search| search.found.is_none()) {
            search.add(piece, &mut self.buffer);
        }
    }

    /// What was found, by stream.
    pub fn found(self) -> Vec<EmbeddedFile> {
        self.all.into_iter().filter_map(|search| search.found).collect()
    }
}

impl StreamSearch {
    fn add(&mut self, piece: &[u8], made: &mut Vec<u8>) {
        let (out, piece) = piece.split_at(self.left_out.min(piece.len()));
        self.left_out -= out.len();
        made.clear();
        made.append(&mut self.tail);
        self.extractor.add(piece, made);
        self.found = magic::find(made).map(|(at, kind)| {
            let bit = 8 * (self.passed + at as u64);
            let element = self.shift + bit / u64::from(self.stream.bits);
            EmbeddedFile { stream: self.stream, element, kind }
        });
        let done = made.len().saturating_sub(magic::LONGEST);
        self.tail.extend_from_slice(&made[done..]);
        self.passed += done as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_file_is_met_wherever_it_begins_and_however_it_is_read(
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
            let there = |h: &EmbeddedFile| (h.stream.bits, h.element, h.kind) == (bits, element as u64, "script");
            prop_assert!(found.iter().any(there), "{found:?}");
        }
    }
}
