//! Ordered lanes: digests of whole files that do not merge (SHA-256) are fed in order, one lane a
//! file, from the same private copies that every other kernel reads.

use super::claims::Claims;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Bytes that may wait for their turn in one lane before the readers of that file wait, too.
const BACKLOG_BYTES: u64 = 24 << 20;

/// The digests of one whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDigests {
    /// BLAKE3 of the file.
    pub blake3: [u8; 32],
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
}

/// The lane of one file.
#[derive(Default)]
pub struct Lane {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    /// Position in the file up to which the digests have seen it.
    position: u64,
    waiting: BTreeMap<u64, (Arc<Vec<u8>>, Range<usize>)>,
    /// What was given to it: tensors may share bytes.
    claims: Claims,
    waiting_bytes: u64,
    /// Taken out while a thread feeds them.
    hashers: Option<Box<(blake3::Hasher, Sha256)>>,
    begun: bool,
    closed: bool,
}

impl Lane {
    /// Gives the lane the first `len` of `bytes`, which lie at `position` of the file. The caller feeds
    /// whatever is next in order, its own bytes or those of others; when the lane is far behind, it
    /// waits until it is its turn. Pieces may come in any order; positions that were given before are passed over.
    ///
    /// Nobody waits for ever when the tiles of a file are handed out in order of the objects' offsets:
    /// before the tile that first holds a position, only tiles with earlier positions are handed out,
    /// whatever objects share bytes.
    pub fn submit(&self, position: u64, bytes: Arc<Vec<u8>>, len: usize) {
        let end = position + len as u64;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = state.claims.take([position, end]);
        drop(state);
        for [from, to] in fresh {
            let range = (from - position) as usize..(to - position) as usize;
            self.feed(from, Arc::clone(&bytes), range);
        }
    }

    fn feed(&self, position: u64, bytes: Arc<Vec<u8>>, range: Range<usize>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.begun {
            state.begun = true;
            state.hashers = Some(Box::default());
        }
        while state.waiting_bytes > BACKLOG_BYTES && position != state.position && !state.closed {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting_bytes += range.len() as u64;
        state.waiting.insert(position, (bytes, range));
        // Only one thread feeds at a time; it looks again before it leaves.
        let Some(mut hashers) = state.hashers.take() else { return };
        loop {
            let at = state.position;
            let Some((bytes, range)) = state.waiting.remove(&at) else { break };
            drop(state);
            let next = &bytes[range];
            hashers.0.update(next);
            hashers.1.update(next);
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.position += next.len() as u64;
            state.waiting_bytes -= next.len() as u64;
            self.moved.notify_all();
        }
        state.hashers = Some(hashers);
    }

    /// Lets every waiting reader go: the run has failed.
    pub fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.moved.notify_all();
    }

    /// The digests, when all `bytes` bytes of the file have passed.
    pub fn finish(&self, bytes: u64) -> Option<FileDigests> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.position != bytes {
            return None;
        }
        let hashers = match state.hashers.take() {
            Some(hashers) => hashers,
            None if bytes == 0 => Box::default(),
            None => return None,
        };
        Some(FileDigests {
            blake3: *hashers.0.finalize().as_bytes(),
            sha256: hashers.1.finalize().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_gives_the_digest_of_the_file() {
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 241) as u8).collect();
        let expected = FileDigests {
            blake3: *blake3::hash(&bytes).as_bytes(),
            sha256: Sha256::digest(&bytes).into(),
        };
        let lane = Lane::default();
        let mut pieces: Vec<(u64, Vec<u8>)> =
            bytes.chunks(7001).enumerate().map(|(i, c)| (i as u64 * 7001, c.to_vec())).collect();
        pieces.rotate_left(5);
        pieces.swap(0, 3);
        for (position, piece) in pieces {
            let len = piece.len();
            lane.submit(position, Arc::new(piece), len);
        }
        assert_eq!(lane.finish(bytes.len() as u64), Some(expected));
        assert_eq!(
            Lane::default().finish(0).unwrap().sha256,
            <[u8; 32]>::from(Sha256::digest(b""))
        );
        assert_eq!(Lane::default().finish(1), None, "bytes that never came");
    }

    /// Views of one storage: what they share is digested once.
    #[test]
    fn positions_that_come_again_are_passed_over() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i % 241) as u8).collect();
        let lane = Lane::default();
        for (from, to) in [(0, 300), (100, 500), (50, 60), (450, 900), (100, 500), (900, 1000)] {
            lane.submit(from as u64, Arc::new(bytes[from..to].to_vec()), to - from);
        }
        assert_eq!(lane.finish(1000).unwrap().blake3, *blake3::hash(&bytes).as_bytes());
    }

    #[test]
    fn readers_that_run_ahead_wait_and_nothing_is_lost() {
        let lane = Lane::default();
        let piece = Arc::new(vec![7u8; 4 << 20]);
        let count = 24u64;
        std::thread::scope(|scope| {
            for turn in 0..4u64 {
                let (lane, piece) = (&lane, &piece);
                scope.spawn(move || {
                    // In order overall, as a queue hands them out.
                    for i in (turn..count).step_by(4) {
                        lane.submit(i * piece.len() as u64, Arc::clone(piece), piece.len());
                    }
                });
            }
        });
        let whole = vec![7u8; (count as usize) * (4 << 20)];
        let digests = lane.finish(whole.len() as u64).unwrap();
        assert_eq!(digests.blake3, *blake3::hash(&whole).as_bytes());
    }
}
