//! Computes digests that do not merge, over the bytes of one file in order, from the same private copies
//! that every kernel reads.

use super::occupied_ranges::OccupiedRanges;
use super::sync::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError};
use tensorseal_base::hashing::{FileDigests, FileHasher, FileHashing};

/// How many bytes of one file may wait for their turn before the readers of that file wait, too.
const BACKLOG_BYTES: u64 = if cfg!(all(test, loom)) { 2 } else { 24 << 20 };

/// Computes the digests of one file from pieces that come in any order.
pub struct SequentialHasher<'a> {
    hashings: &'a [FileHashing],
    /// The length of the file.
    bytes: u64,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    /// The position in the file up to which bytes were hashed.
    position: u64,
    waiting: BTreeMap<u64, (Arc<Vec<u8>>, Range<usize>)>,
    /// The ranges that were submitted; tensors may share bytes.
    occupied: OccupiedRanges,
    waiting_bytes: u64,
    hasher: HasherStatus,
    closed: bool,
}

/// The state of the hashing.
#[derive(Default)]
enum HasherStatus {
    /// No bytes were submitted yet.
    #[default]
    NotBegun,
    /// No thread is hashing.
    Free(Box<FileHasher>),
    /// A thread is hashing.
    Busy,
    /// The whole file was hashed.
    Done(FileDigests),
}

impl<'a> SequentialHasher<'a> {
    /// Creates a hasher for a file of `bytes` bytes.
    pub fn new(hashings: &'a [FileHashing], bytes: u64) -> Self {
        Self { hashings, bytes, state: Mutex::default(), moved: Condvar::new() }
    }

    /// Submits the first `len` of `bytes`, which lie at `position` of the file. The calling thread hashes
    /// whatever is next in order, whether it submitted those bytes or another thread did. If many bytes are
    /// already waiting, it waits for its turn. Pieces may come in any order; positions that were submitted
    /// before are skipped.
    ///
    /// There is no deadlock if the tiles of a file are handed out in order of the offsets of objects: before
    /// the tile that first contains a position, only tiles with earlier positions are handed out, whichever
    /// objects share bytes.
    pub fn submit(&self, position: u64, bytes: Arc<Vec<u8>>, len: usize) {
        let end = position + len as u64;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = state.occupied.occupy([position, end]);
        drop(state);
        for [from, to] in fresh {
            let range = (from - position) as usize..(to - position) as usize;
            self.feed(from, Arc::clone(&bytes), range);
        }
    }

    fn feed(&self, position: u64, bytes: Arc<Vec<u8>>, range: Range<usize>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.waiting_bytes > BACKLOG_BYTES && position != state.position && !state.closed {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting_bytes += range.len() as u64;
        state.waiting.insert(position, (bytes, range));
        // Only one thread hashes at a time; it checks for more bytes before it returns.
        let mut file_hasher = match std::mem::replace(&mut state.hasher, HasherStatus::Busy) {
            HasherStatus::NotBegun => Box::new(FileHasher::new(self.hashings, self.bytes)),
            HasherStatus::Free(file_hasher) => file_hasher,
            other => {
                state.hasher = other;
                return;
            }
        };
        loop {
            let at = state.position;
            let Some((bytes, range)) = state.waiting.remove(&at) else { break };
            drop(state);
            let next = &bytes[range];
            file_hasher.update(next);
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.position += next.len() as u64;
            state.waiting_bytes -= next.len() as u64;
            self.moved.notify_all();
        }
        // A run has many files: of a finished one only the digests are kept.
        state.hasher = match state.position == self.bytes {
            true => HasherStatus::Done(file_hasher.finish()),
            false => HasherStatus::Free(file_hasher),
        };
    }

    /// Releases every waiting reader, because the run failed.
    pub fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.moved.notify_all();
    }

    /// Returns the digests, if all bytes of the file were submitted.
    pub fn digests(&self) -> Option<FileDigests> {
        match &self.state.lock().unwrap_or_else(PoisonError::into_inner).hasher {
            HasherStatus::NotBegun if self.bytes == 0 => {
                Some(FileHasher::new(self.hashings, 0).finish())
            }
            HasherStatus::Done(digests) => Some(digests.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest;
    use std::num::NonZeroU64;
    use tensorseal_base::hashing::HashAlgorithm::{Blake3, Sha256};

    const WHOLE: [FileHashing; 2] = [
        FileHashing { algorithm: Blake3, shard: None },
        FileHashing { algorithm: Sha256, shard: None },
    ];

    #[test]
    fn any_order_gives_the_digest_of_the_file() {
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 241) as u8).collect();
        let shards = FileHashing { algorithm: Sha256, shard: NonZeroU64::new(9999) };
        let hashings = [WHOLE[0], WHOLE[1], shards];
        let hasher = SequentialHasher::new(&hashings, bytes.len() as u64);
        let mut pieces: Vec<(u64, Vec<u8>)> =
            bytes.chunks(7001).enumerate().map(|(i, c)| (i as u64 * 7001, c.to_vec())).collect();
        pieces.rotate_left(5);
        pieces.swap(0, 3);
        for (position, piece) in pieces {
            let len = piece.len();
            hasher.submit(position, Arc::new(piece), len);
        }
        let digests = hasher.digests().unwrap();
        assert_eq!(digests.whole(Blake3).unwrap(), blake3::hash(&bytes).as_bytes());
        assert_eq!(digests.whole(Sha256).unwrap(), sha2::Sha256::digest(&bytes).as_slice());
        let expected: Vec<_> = bytes.chunks(9999).map(sha2::Sha256::digest).collect();
        assert!(
            digests
                .shard_digests(shards)
                .unwrap()
                .eq(expected.iter().map(|digest| digest.as_slice()))
        );
        let empty = SequentialHasher::new(&hashings, 0).digests().unwrap();
        assert_eq!(empty.whole(Sha256).unwrap(), sha2::Sha256::digest(b"").as_slice());
        assert_eq!(empty.shard_digests(shards).unwrap().count(), 0);
        assert_eq!(SequentialHasher::new(&hashings, 1).digests(), None, "bytes that never came");
    }

    /// Views of one storage: shared bytes are hashed once.
    #[test]
    fn positions_that_were_submitted_before_are_skipped() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i % 241) as u8).collect();
        let hasher = SequentialHasher::new(&WHOLE, 1000);
        for (from, to) in [(0, 300), (100, 500), (50, 60), (450, 900), (100, 500), (900, 1000)] {
            hasher.submit(from as u64, Arc::new(bytes[from..to].to_vec()), to - from);
        }
        let digests = hasher.digests().unwrap();
        assert_eq!(digests.whole(Blake3).unwrap(), blake3::hash(&bytes).as_bytes());
    }

    #[test]
    fn readers_that_run_ahead_wait_and_nothing_is_lost() {
        let piece = Arc::new(vec![7u8; 4 << 20]);
        let count = 24u64;
        let hasher = SequentialHasher::new(&WHOLE, count * piece.len() as u64);
        std::thread::scope(|scope| {
            for turn in 0..4u64 {
                let (hasher, piece) = (&hasher, &piece);
                scope.spawn(move || {
                    // In order overall, as a queue hands them out.
                    for i in (turn..count).step_by(4) {
                        hasher.submit(i * piece.len() as u64, Arc::clone(piece), piece.len());
                    }
                });
            }
        });
        let whole = vec![7u8; (count as usize) * (4 << 20)];
        let digests = hasher.digests().unwrap();
        assert_eq!(digests.whole(Blake3).unwrap(), blake3::hash(&whole).as_bytes());
    }
}
