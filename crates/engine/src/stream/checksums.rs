//! Checksums of stretches of a file, from the same private copies that every other kernel reads.
//!
//! CRC-32 of two neighbours gives that of both, so that pieces may come in any order: unlike a
//! [lane](super::lane), nobody waits for anybody.

use super::occupied_ranges::OccupiedRanges;
use crc32fast::Hasher;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tensorseal_format::ChecksummedRange;

/// The sums of one file.
pub struct ChecksumVerifier<'a> {
    /// In order, and none shares bytes with another.
    checksums: &'a [ChecksummedRange],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    occupied: OccupiedRanges,
    /// By first position: the length and the checksum of what was seen; neighbours in one stretch are one.
    pieces: BTreeMap<u64, (u64, u32)>,
}

impl<'a> ChecksumVerifier<'a> {
    /// Nothing seen yet.
    pub fn new(checksums: &'a [ChecksummedRange]) -> Self {
        Self { checksums, state: Mutex::default() }
    }

    /// Adds the bytes at `position` of the file. Positions that were seen before are passed over.
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

    /// Of every stretch that was seen whole and is not as stated: its index.
    pub fn failed(&self) -> Vec<usize> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = |sum: &ChecksummedRange| {
            let [start, end] = sum.range;
            let found = match state.pieces.get(&start) {
                _ if start == end => Some(0),
                Some((length, crc)) if start + length == end => Some(*crc),
                _ => None,
            };
            found.is_some_and(|found| found != sum.crc32)
        };
        let all = self.checksums.iter().enumerate();
        all.filter(|(_, sum)| differs(sum)).map(|(index, _)| index).collect()
    }
}

impl State {
    /// Adds a piece of a stretch, and joins it with its neighbours there.
    fn join(&mut self, stretch: [u64; 2], mut start: u64, mut length: u64, mut crc: u32) {
        let before = self.pieces.range(stretch[0]..start).next_back();
        if let Some((&at, &(len, sum))) = before
            && at + len == start
        {
            crc = combined((sum, len), (crc, length));
            start = at;
            length += len;
        }
        let end = start + length;
        if end < stretch[1]
            && let Some((len, sum)) = self.pieces.remove(&end)
        {
            crc = combined((crc, length), (sum, len));
            length += len;
        }
        self.pieces.insert(start, (length, crc));
    }
}

/// The checksum of two neighbours, given that of each and its length.
fn combined(first: (u32, u64), second: (u32, u64)) -> u32 {
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
        /// In any order, with pieces that share bytes.
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
    fn what_was_not_read_whole_is_not_judged() {
        let bytes = sample();
        let mut checksums = stated(&bytes, &RANGES);
        for sum in &mut checksums {
            sum.crc32 ^= 1;
        }
        let sums = ChecksumVerifier::new(&checksums);
        sums.add(0, &bytes[..299]);
        sums.add(400, &bytes[400..]);
        // That of nothing is known all the same.
        assert_eq!(sums.failed(), [1, 3]);
    }
}
