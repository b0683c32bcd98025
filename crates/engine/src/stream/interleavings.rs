//! Tests the queue and the sequential hasher under every order of the steps of two or three threads
//! (`loom`): each tile is handed out once, every byte is hashed, and there is no deadlock.
//!
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p tensorseal-engine --release --lib interleavings`

use super::plan::{Object, ObjectKind, Plan};
use super::queue::{Tile, TileConsumers, TileQueue};
use super::sequential_hasher::SequentialHasher;
use super::sync::Mutex;
use crate::measure::BLOCK_LEN;
use loom::thread;
use std::sync::{Arc, PoisonError};
use tensorseal_base::hashing::{FileHashing, HashAlgorithm};

const BLOCK: u64 = BLOCK_LEN as u64;

/// Tries every order with at count three preemptions, which is enough to show count defects.
fn every_order(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(test);
}

/// A queue, and all tiles that were taken from it.
struct RecordingQueue {
    queue: TileQueue<'static>,
    tiles: Mutex<Vec<Tile>>,
}

impl RecordingQueue {
    /// Creates a queue over `plan`, which lives until the process ends.
    fn new(plan: &'static Plan, consumers: TileConsumers) -> Arc<Self> {
        let queue = TileQueue::new(plan, consumers, 1);
        Arc::new(Self { queue, tiles: Mutex::new(Vec::new()) })
    }

    fn take(&self, tiles: &[Tile]) {
        self.tiles.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(tiles);
    }

    fn work(&self) {
        let mut batch = Vec::new();
        loop {
            self.queue.next_cpu(&mut batch);
            if batch.is_empty() {
                return;
            }
            self.take(&batch);
        }
    }

    /// Finishes up to `count` tiles, and fails with the next one.
    fn drive(&self, count: usize) {
        for _ in 0..count {
            match self.queue.next_device() {
                Some(tile) => self.take(&[tile]),
                None => break,
            }
        }
        self.queue.device_ended(self.queue.next_device());
    }

    /// Checks that the tiles cover the plan.
    fn check(&self, plan: &Plan) {
        let mut tiles = self.tiles.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tiles.sort_by_key(|tile| (tile.object, tile.start));
        let mut covered = vec![0; plan.objects.len()];
        for tile in tiles {
            assert_eq!(tile.start, covered[tile.object], "no gap, no overlap");
            covered[tile.object] += tile.len as u64;
        }
        assert!(covered.iter().zip(&plan.objects).all(|(covered, o)| *covered == o.bytes));
    }
}

fn plan(sizes: &[u64]) -> &'static Plan {
    let object = |bytes| Object::digest_only(ObjectKind::File(0), 0, 0, bytes);
    let objects = sizes.iter().copied().map(object).collect();
    Box::leak(Box::new(Plan { objects, ..Plan::default() }))
}

#[test]
fn two_workers_share_a_queue() {
    let plan = plan(&[5, 9 * BLOCK, BLOCK + 1]);
    every_order(move || {
        let recorder = RecordingQueue::new(plan, TileConsumers::Cpu);
        let other = Arc::clone(&recorder);
        let other = thread::spawn(move || other.work());
        recorder.work();
        other.join().unwrap();
        recorder.check(plan);
    });
}

/// Includes a backlog of small tiles, and a device that fails during the run.
#[test]
fn a_device_and_a_worker_share_a_queue() {
    let plan = plan(&[5, 2 * BLOCK + 1, BLOCK, BLOCK - 1, 3 * BLOCK]);
    for (consumers, count) in
        [(TileConsumers::Device, 9), (TileConsumers::Device, 1), (TileConsumers::Shared, 1)]
    {
        every_order(move || {
            let recorder = RecordingQueue::new(plan, consumers);
            let other = Arc::clone(&recorder);
            let other = thread::spawn(move || other.work());
            recorder.drive(count);
            other.join().unwrap();
            recorder.check(plan);
        });
    }
}

/// A failed run leaves no thread waiting.
#[test]
fn a_closed_queue_releases_all_threads() {
    let plan = plan(&[5, 2 * BLOCK + 1]);
    every_order(move || {
        let recorder = RecordingQueue::new(plan, TileConsumers::Device);
        let (worker, device) = (Arc::clone(&recorder), Arc::clone(&recorder));
        let worker = thread::spawn(move || worker.work());
        let device = thread::spawn(move || while device.queue.next_device().is_some() {});
        recorder.queue.close();
        worker.join().unwrap();
        device.join().unwrap();
    });
}

const SHA256: [FileHashing; 1] = [FileHashing { algorithm: HashAlgorithm::Sha256, shard: None }];

/// Pieces are handed out in order and submitted in any order; some share bytes.
#[test]
fn a_hasher_receives_every_byte_in_order() {
    const BYTES: &[u8] = b"abcdefgh";
    const PIECES: [(usize, usize); 4] = [(0, 3), (2, 5), (5, 6), (6, 8)];
    let mut whole = tensorseal_base::hashing::FileHasher::new(&SHA256, BYTES.len() as u64);
    whole.update(BYTES);
    let expected = whole.finish();
    every_order(move || {
        let hasher = Arc::new(SequentialHasher::new(&SHA256, BYTES.len() as u64));
        let next = Arc::new(Mutex::new(PIECES.into_iter()));
        let feed = |hasher: Arc<SequentialHasher<'static>>,
                    next: Arc<Mutex<std::array::IntoIter<_, 4>>>| {
            move || {
                loop {
                    let piece = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((from, to)): Option<(usize, usize)> = piece else { return };
                    hasher.submit(from as u64, Arc::new(BYTES[from..to].to_vec()), to - from);
                }
            }
        };
        let other = thread::spawn(feed(Arc::clone(&hasher), Arc::clone(&next)));
        feed(Arc::clone(&hasher), next)();
        other.join().unwrap();
        assert_eq!(hasher.digests().as_ref(), Some(&expected));
    });
}

/// A reader that waits for bytes that never come is released when the run fails.
#[test]
fn a_closed_hasher_releases_all_threads() {
    every_order(|| {
        let hasher = Arc::new(SequentialHasher::new(&SHA256, 100));
        let other = Arc::clone(&hasher);
        let other = thread::spawn(move || {
            for position in [10, 20, 30] {
                other.submit(position, Arc::new(vec![0; 9]), 9);
            }
        });
        hasher.close();
        other.join().unwrap();
        assert_eq!(hasher.digests(), None);
    });
}
