//! Verifies checksums of ranges of a file, over the same private copies that every kernel reads.
//!
//! The CRC-32 values of two adjacent pieces combine to that of both, so pieces may come in any order:
//! unlike with a [sequential hasher](super::sequential_hasher), no thread waits for another.

use super::occupied_ranges::OccupiedRanges;
use crc32fast::Hasher;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tensorseal_format::ChecksummedRange;

/// The checksums of one file.
pub struct ChecksumVerifier<'a> {
    /// The stated checksums in order; their ranges do not overlap.
    checksums: &'a [ChecksummedRange],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    occupied: OccupiedRanges,
    /// The length and checksum of each piece by its first position. Adjacent pieces of a range are joined.
    pieces: BTreeMap<u64, (u64, u32)>,
}

impl<'a> ChecksumVerifier<'a> {
    /// Creates a verifier for these checksums, which has seen no bytes yet.
    pub fn new(checksums: &'a [ChecksummedRange]) -> Self {
        Self { checksums, state: Mutex::default() }
    }

    /// Adds the bytes at `position` of the file. Positions that were added before are skipped.
    pub fn add(&self, position: u64, bytes: &[u8]) {
        let lock = || self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = lock().occupied.occupy([position, position + bytes.len() as u64]);
        for [from, to] in fresh {
            let first = self.checksums.partition_point(|sum| sum.range[1] <= from);
            for sum in self.checksums[first..].iter().take_while(|sum| sum.range[0] < to) {
                let (start, end) = (from.max(sum.range[0]), to.min(sum.range[1]));
                if start < end {
                    let piece = &bytes[(start - position) as usize..(end - position) as usize];
                    let crc = crc32fast::hash(piece);
                    lock().join(sum.range, start, end - start, crc);
                }
            }
        }
    }

    /// Returns the indices of the ranges that were added completely and do not have the stated checksum.
    pub fn failed(&self) -> Vec<usize> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = |sum: &ChecksummedRange| {
            let [start, end] = sum.range;
            let computed = match state.pieces.get(&start) {
                _ if start == end => Some(0),
                Some((length, crc)) if start + length == end => Some(*crc),
                _ => None,
            };
            computed.is_some_and(|computed| computed != sum.crc32)
        };
        let all = self.checksums.iter().enumerate();
        all.filter(|(_, sum)| differs(sum)).map(|(index, _)| index).collect()
    }
}

impl State {
    /// Adds a piece of `range`, and joins it with adjacent pieces of that range.
    fn join(&mut self, range: [u64; 2], mut start: u64, mut length: u64, mut crc: u32) {
        let before = self.pieces.range(range[0]..start).next_back();
        if let Some((&at, &(len, sum))) = before
            && at + len == start
        {
            crc = combine((sum, len), (crc, length));
            start = at;
            length += len;
        }
        let end = start + length;
        if end < range[1]
            && let Some((len, sum)) = self.pieces.remove(&end)
        {
            crc = combine((crc, length), (sum, len));
            length += len;
        }
        self.pieces.insert(start, (length, crc));
    }
}

/// Returns the checksum of two adjacent pieces, given the checksum and length of each.
fn combine(first: (u32, u64), second: (u32, u64)) -> u32 {
    let mut hasher = Hasher::new_with_initial_len(first.0, first.1);
    hasher.combine(&Hasher::new_with_initial_len(second.0, second.1));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        (0..1000u32).map(|i| (i * i % 251) as u8).collect()
    }

    fn stated(bytes: &[u8], ranges: &[[u64; 2]]) -> Vec<ChecksummedRange> {
        let sum = |range: &[u64; 2]| ChecksummedRange {
            name: "x".to_owned(),
            range: *range,
            crc32: crc32fast::hash(&bytes[range[0] as usize..range[1] as usize]),
        };
        ranges.iter().map(sum).collect()
    }

    const RANGES: [[u64; 2]; 4] = [[10, 300], [300, 300], [300, 700], [720, 1000]];

    proptest! {
        /// Pieces come in any order, and some share bytes.
        #[test]
        fn every_order_gives_the_same_sums(
            cuts in prop::collection::btree_set(1u64..1000, 0..20),
            views in prop::collection::vec((0u64..1000, 0u64..300), 0..8),
            order in any::<prop::sample::Index>(),
            flipped in prop::option::of(0usize..1000),
        ) {
            let mut bytes = sample();
            let checksums = stated(&bytes, &RANGES);
            if let Some(at) = flipped {
                bytes[at] ^= 4;
            }
            let cuts: Vec<u64> = [0].into_iter().chain(cuts).chain([1000]).collect();
            let mut pieces: Vec<[u64; 2]> = cuts.windows(2).map(|w| [w[0], w[1]]).collect();
            pieces.extend(views.into_iter().map(|(from, length)| [from, (from + length).min(1000)]));
            let turn = order.index(pieces.len());
            pieces.rotate_left(turn);
            let sums = ChecksumVerifier::new(&checksums);
            for [from, to] in pieces {
                sums.add(from, &bytes[from as usize..to as usize]);
            }
            let expected: Vec<usize> = flipped
                .into_iter()
                .filter_map(|at| RANGES.iter().position(|[a, b]| (*a..*b).contains(&(at as u64))))
                .collect();
            prop_assert_eq!(sums.failed(), expected);
            prop_assert!(sums.state.lock().unwrap().pieces.len() <= 3);
        }
    }

    #[test]
    fn ranges_that_were_not_read_completely_are_not_judged() {
        let bytes = sample();
        let mut checksums = stated(&bytes, &RANGES);
        for sum in &mut checksums {
            sum.crc32 ^= 1;
        }
        let sums = ChecksumVerifier::new(&checksums);
        sums.add(0, &bytes[..299]);
        sums.add(400, &bytes[400..]);
        // The checksum of an empty range is always known.
        assert_eq!(sums.failed(), [1, 3]);
    }
}
