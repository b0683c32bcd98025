//! One queue of tiles for all engines.
//!
//! The queue walks the plan in file order, so that few objects are open at a time; where digests that
//! do not merge bound the speed, it walks as many files side by side as there are threads. Tiles of
//! whole blocks may go to a device; the rest (objects of one block or less, and the last, shorter block
//! of an object) is work for the CPU: a dispatch costs more than it saves there.

use super::plan::Plan;
use super::sync::{Condvar, Mutex, MutexGuard};
use crate::measure::{BLOCK_LEN, TILE_LEN};
use std::collections::VecDeque;
use std::sync::PoisonError;

/// A part of an object that is measured at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Index into [`Plan::objects`].
    pub object: usize,
    /// Position of its first byte in the object, a multiple of [`BLOCK_LEN`].
    pub start: u64,
    /// Its length in bytes; zero only for an empty object.
    pub len: usize,
}

impl Tile {
    /// Position in the object of the byte behind its last.
    pub fn end(&self) -> u64 {
        self.start + self.len as u64
    }
}

/// Tiles of the CPU alone: small enough to share out the end of a run evenly.
const CPU_TILE_LEN: u64 = 4 << 20;

/// Small tiles a CPU worker takes at once.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_TILES: usize = 64;

/// How far the small tiles may fall behind the device before it waits: bounds the number of objects
/// that are open at a time.
const BACKLOG_BYTES: usize = if cfg!(all(test, loom)) { 1 << 20 } else { 64 << 20 };

/// Who takes tiles of whole blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileConsumers {
    /// The CPU engine takes everything.
    Cpu,
    /// A device takes whole blocks, the CPU engine the rest.
    Device,
    /// Both take whole blocks.
    Shared,
}

/// The queue: see the module.
#[derive(Debug)]
pub struct TileQueue<'a> {
    plan: &'a Plan,
    state: Mutex<State>,
    changed: Condvar,
}

/// The next tile of one file: object, position in it, and the end of the file's objects.
#[derive(Debug)]
struct Cursor {
    object: usize,
    start: u64,
    end: usize,
}

#[derive(Debug)]
struct State {
    consumers: TileConsumers,
    /// Files walked side by side.
    width: usize,
    /// One cursor per file being walked, and whose turn it is.
    cursors: Vec<Cursor>,
    turn: usize,
    /// First object of the first file that no cursor has reached.
    next_object: usize,
    /// Passed over by the device, or given back by it.
    aside: VecDeque<Tile>,
    aside_bytes: usize,
    closed: bool,
}

impl<'a> TileQueue<'a> {
    /// A queue over all of `plan` that walks `width` files side by side.
    pub fn new(plan: &'a Plan, takers: TileConsumers, width: usize) -> Self {
        let state = State {
            consumers: takers,
            width: width.max(1),
            cursors: Vec::new(),
            turn: 0,
            next_object: 0,
            aside: VecDeque::new(),
            aside_bytes: 0,
            closed: false,
        };
        Self { plan, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills `batch` with the next work of a CPU worker; leaves it empty when there is no more.
    pub fn next_cpu(&self, batch: &mut Vec<Tile>) {
        batch.clear();
        let mut state = self.lock();
        loop {
            if state.closed {
                return;
            }
            let mut bytes = 0;
            // Side by side, a worker must not hold a tile of one file while it waits for another.
            let most = if state.width > 1 { 1 } else { BATCH_TILES };
            while bytes < BATCH_BYTES && batch.len() < most {
                let tile = match state.aside.pop_front() {
                    Some(tile) => {
                        state.aside_bytes -= tile.len;
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
            // While a device has tiles, it may fail and give them back.
            if state.consumers == TileConsumers::Cpu {
                return;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next tile of whole blocks, for a device; `None` when there is no more.
    pub fn next_device(&self) -> Option<Tile> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if state.aside_bytes > BACKLOG_BYTES {
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
            state.put_aside(tile);
            self.changed.notify_all();
        }
    }

    /// The device takes no more tiles (all are given out, or it failed); `unfinished` go to the CPU.
    pub fn device_ended(&self, unfinished: impl IntoIterator<Item = Tile>) {
        let mut state = self.lock();
        for tile in unfinished {
            state.put_aside(tile);
        }
        state.consumers = TileConsumers::Cpu;
        self.changed.notify_all();
    }

    /// Gives out nothing more: the run has failed or was interrupted.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

impl State {
    fn put_aside(&mut self, tile: Tile) {
        self.aside_bytes += tile.len;
        self.aside.push_back(tile);
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
        // Tiles end at multiples of their size, also after the size changed in the middle.
        let mut len = left.min(limit - cursor.start % limit);
        if self.consumers != TileConsumers::Cpu && left > BLOCK_LEN as u64 {
            // A device takes whole blocks: the shorter last one becomes a tile of its own.
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

    fn rest_by_cpu(queue: &TileQueue, tiles: &mut Vec<Tile>) {
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
            rest_by_cpu(&TileQueue::new(&plan, TileConsumers::Cpu, width), &mut tiles);
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
        rest_by_cpu(&queue, &mut tiles);
        check(&plan, tiles);
    }

    #[test]
    fn a_device_that_fails_in_the_middle_leaves_the_rest_to_the_cpu() {
        let plan = plan(&SIZES);
        let queue = TileQueue::new(&plan, TileConsumers::Shared, 1);
        let mut tiles = vec![queue.next_device().unwrap()];
        queue.device_ended(queue.next_device());
        rest_by_cpu(&queue, &mut tiles);
        check(&plan, tiles);
    }
}
