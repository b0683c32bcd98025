//! The queue of tiles that all engines share.
//!
//! The queue walks the plan in file order, so that few objects are open at a time. If sequential digests
//! limit the speed, it walks as many files in parallel as there are threads. Tiles of whole blocks may go
//! to a device. The rest (objects of one block or less, and the last, shorter block of an object) goes to
//! the CPU, because a dispatch would cost more than it saves.

use super::plan::Plan;
use super::sync::{Condvar, Mutex, MutexGuard};
use crate::measure::{BLOCK_LEN, TILE_LEN};
use std::collections::VecDeque;
use std::sync::PoisonError;

/// A part of an object, the unit of work of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// The index into [`Plan::objects`].
    pub object: usize,
    /// The position of the first byte in the object, a multiple of [`BLOCK_LEN`].
    pub start: u64,
    /// The length in bytes; zero only for an empty object.
    pub len: usize,
}

impl Tile {
    /// Returns the position in the object after the last byte of the tile.
    pub fn end(&self) -> u64 {
        self.start + self.len as u64
    }
}

/// The size of tiles if only the CPU measures: small, so that threads end at about the same time.
const CPU_TILE_LEN: u64 = 4 << 20;

/// The limits on the small tiles that a CPU worker takes at once.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_TILES: usize = 64;

/// How many bytes of small tiles may wait for the CPU before the device waits, too. This limits the number
/// of objects that are open at a time.
const BACKLOG_BYTES: usize = if cfg!(all(test, loom)) { 1 << 20 } else { 64 << 20 };

/// Which engines take tiles of whole blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileConsumers {
    /// The CPU engine takes everything.
    Cpu,
    /// A device takes whole blocks, the CPU engine the rest.
    Device,
    /// Both take whole blocks.
    Shared,
}

/// The queue of tiles of a run.
#[derive(Debug)]
pub struct TileQueue<'a> {
    plan: &'a Plan,
    state: Mutex<State>,
    changed: Condvar,
}

/// The next tile of one file: its object, its position there, and the end of the objects of the file.
#[derive(Debug)]
struct Cursor {
    object: usize,
    start: u64,
    end: usize,
}

#[derive(Debug)]
struct State {
    consumers: TileConsumers,
    /// The number of files that are walked in parallel.
    width: usize,
    /// One cursor for each file that is being walked, and the index of the next one to use.
    cursors: Vec<Cursor>,
    turn: usize,
    /// The first object of the first file that no cursor has reached.
    next_object: usize,
    /// Tiles for the CPU: those too small for the device, and those that it returned.
    for_cpu: VecDeque<Tile>,
    for_cpu_bytes: usize,
    closed: bool,
}

impl<'a> TileQueue<'a> {
    /// Creates a queue over all objects of `plan` that walks `width` files in parallel.
    pub fn new(plan: &'a Plan, consumers: TileConsumers, width: usize) -> Self {
        let state = State {
            consumers,
            width: width.max(1),
            cursors: Vec::new(),
            turn: 0,
            next_object: 0,
            for_cpu: VecDeque::new(),
            for_cpu_bytes: 0,
            closed: false,
        };
        Self { plan, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces `batch` with the next tiles for a CPU worker; it is empty if there are no more.
    pub fn next_cpu(&self, batch: &mut Vec<Tile>) {
        batch.clear();
        let mut state = self.lock();
        loop {
            if state.closed {
                return;
            }
            let mut bytes = 0;
            // With several files, a worker must not hold a tile of one while it waits for another.
            let max_tiles = if state.width > 1 { 1 } else { BATCH_TILES };
            while bytes < BATCH_BYTES && batch.len() < max_tiles {
                let tile = match state.for_cpu.pop_front() {
                    Some(tile) => {
                        state.for_cpu_bytes -= tile.len;
                        tile
                    }
                    None if state.consumers == TileConsumers::Device => break,
                    None => match state.advance(self.plan) {
                        Some(tile) => tile,
                        None => break,
                    },
                };
                bytes += tile.len;
                batch.push(tile);
            }
            if !batch.is_empty() {
                self.changed.notify_all();
                return;
            }
            // While a device has tiles, it may fail and return them.
            if state.consumers == TileConsumers::Cpu {
                return;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns the next tile of whole blocks for a device; `None` if there are no more. May wait for the
    /// CPU workers to catch up.
    pub fn next_device(&self) -> Option<Tile> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if state.for_cpu_bytes > BACKLOG_BYTES {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let tile = state.advance(self.plan)?;
            let whole = tile.len >= BLOCK_LEN
                && tile.len.is_multiple_of(BLOCK_LEN)
                && self.plan.objects[tile.object].bytes > BLOCK_LEN as u64;
            if whole {
                return Some(tile);
            }
            state.push_for_cpu(tile);
            self.changed.notify_all();
        }
    }

    /// Records that the device takes no more tiles, because there are none or it failed. The `unfinished`
    /// tiles go to the CPU.
    pub fn device_ended(&self, unfinished: impl IntoIterator<Item = Tile>) {
        let mut state = self.lock();
        for tile in unfinished {
            state.push_for_cpu(tile);
        }
        state.consumers = TileConsumers::Cpu;
        self.changed.notify_all();
    }

    /// Closes the queue, because the run failed or was stopped: no more tiles are handed out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

impl State {
    fn push_for_cpu(&mut self, tile: Tile) {
        self.for_cpu_bytes += tile.len;
        self.for_cpu.push_back(tile);
    }

    fn advance(&mut self, plan: &Plan) -> Option<Tile> {
        while self.cursors.len() < self.width {
            let Some(first) = plan.objects.get(self.next_object) else { break };
            let rest = &plan.objects[self.next_object..];
            let end = self.next_object + rest.partition_point(|object| object.file == first.file);
            self.cursors.push(Cursor { object: self.next_object, start: 0, end });
            self.next_object = end;
        }
        if self.cursors.is_empty() {
            return None;
        }
        self.turn %= self.cursors.len();
        let cursor = &mut self.cursors[self.turn];
        let left = plan.objects[cursor.object].bytes - cursor.start;
        let limit =
            if self.consumers == TileConsumers::Cpu { CPU_TILE_LEN } else { TILE_LEN as u64 };
        // Tiles end at multiples of their size, also after the size changed during the run.
        let mut len = left.min(limit - cursor.start % limit);
        if self.consumers != TileConsumers::Cpu && left > BLOCK_LEN as u64 {
            // A device takes whole blocks, so the shorter last block becomes a separate tile.
            len = len.min(left / BLOCK_LEN as u64 * BLOCK_LEN as u64);
        }
        let tile = Tile { object: cursor.object, start: cursor.start, len: len as usize };
        cursor.start += len;
        if len == left {
            cursor.object += 1;
            cursor.start = 0;
        }
        if cursor.object == cursor.end {
            self.cursors.remove(self.turn);
        } else {
            self.turn += 1;
        }
        Some(tile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::plan::{Object, ObjectKind};

    fn plan(sizes: &[u64]) -> Plan {
        let kind = ObjectKind::File(0);
        let object = |bytes| Object::digest_only(kind, 0, 0, bytes);
        Plan { objects: sizes.iter().copied().map(object).collect(), ..Plan::default() }
    }

    const SIZES: [u64; 7] =
        [0, 5, 1 << 20, (1 << 20) + 1, (70 << 20) + 3, 64 << 20, (33 << 20) + 500_000];

    fn check(plan: &Plan, mut tiles: Vec<Tile>) {
        tiles.sort_by_key(|t| (t.object, t.start));
        let mut covered = vec![0u64; plan.objects.len()];
        let mut seen = vec![false; plan.objects.len()];
        for tile in tiles {
            assert_eq!(tile.start, covered[tile.object], "no gap, no overlap");
            assert!(tile.start.is_multiple_of(BLOCK_LEN as u64));
            covered[tile.object] += tile.len as u64;
            seen[tile.object] = true;
        }
        assert!(seen.iter().all(|s| *s), "an empty object has a tile, too");
        let sizes: Vec<u64> = plan.objects.iter().map(|o| o.bytes).collect();
        assert_eq!(covered, sizes);
    }

    fn drain_on_cpu(queue: &TileQueue, tiles: &mut Vec<Tile>) {
        let mut batch = Vec::new();
        loop {
            queue.next_cpu(&mut batch);
            if batch.is_empty() {
                return;
            }
            tiles.append(&mut batch);
        }
    }

    #[test]
    fn tiles_cover_every_object_once() {
        let mut plan = plan(&SIZES);
        for (i, object) in plan.objects.iter_mut().enumerate() {
            object.file = i / 2;
        }
        for width in 1..4 {
            let mut tiles = Vec::new();
            drain_on_cpu(&TileQueue::new(&plan, TileConsumers::Cpu, width), &mut tiles);
            check(&plan, tiles);
        }
    }

    #[test]
    fn a_device_gets_whole_blocks_and_the_cpu_the_rest() {
        let plan = plan(&SIZES);
        let queue = TileQueue::new(&plan, TileConsumers::Device, 1);
        let mut tiles = Vec::new();
        while let Some(tile) = queue.next_device() {
            assert!(tile.len.is_multiple_of(BLOCK_LEN) && tile.len >= BLOCK_LEN);
            tiles.push(tile);
        }
        let unfinished = tiles.split_off(2);
        queue.device_ended(unfinished);
        drain_on_cpu(&queue, &mut tiles);
        check(&plan, tiles);
    }

    #[test]
    fn a_failed_device_leaves_the_remaining_tiles_to_the_cpu() {
        let plan = plan(&SIZES);
        let queue = TileQueue::new(&plan, TileConsumers::Shared, 1);
        let mut tiles = vec![queue.next_device().unwrap()];
        queue.device_ended(queue.next_device());
        drain_on_cpu(&queue, &mut tiles);
        check(&plan, tiles);
    }
}
