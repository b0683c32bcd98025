//! What was fetched, shared by everyone who reads it.
//!
//! The engines read in pieces of 128 KiB and look a little behind them; another machine is asked for
//! windows of 8 MiB, each once. All files of a source share one budget of memory. Who reads a window that
//! is being fetched waits for it; the next ones are fetched meanwhile.
//!
//! At both ends of a file windows are smaller: whoever opens a model reads a header at the front or a
//! directory at the back, and not yet what lies between.

use super::runtime::Waiting;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use tensorseal_format::{RemoteError, RemoteFile};

/// Bytes of a window.
const WINDOW: u64 = 8 << 20;

/// The first window of a file is this part of one; the next ones grow until they are whole.
const FIRST_PART: u64 = 32;

/// The last window of a long file is this part of one.
const LAST_PART: u64 = 8;

/// Windows that are fetched behind the one that is being read.
const AHEAD: usize = 2;

/// What a window costs at least, so that there is no end of tiny ones.
const LEAST_COST: usize = 64 << 10;

/// The most memory that a source takes by itself.
const MAX_BUDGET: usize = 1 << 30;

/// A file of another machine that is asked for by ranges, pinned to the version that was listed.
pub trait Fetch: Debug + Send + Sync + 'static {
    /// Where it is, for messages, without credentials.
    fn place(&self) -> String;

    /// Its length in bytes, as it was listed.
    fn bytes(&self) -> u64;

    /// The `len` bytes from `offset` on, which lie within [`Fetch::bytes`]; no more and no fewer.
    ///
    /// # Errors
    /// [`RemoteError`], after as many attempts as are worth it.
    fn fetch(&self, offset: u64, len: usize) -> Result<Vec<u8>, RemoteError>;
}

/// The windows of all files of a source.
#[derive(Debug)]
pub struct Windows {
    /// Bytes of a window, and of all of them. One window more for each reader may be there for a moment.
    window: u64,
    budget: usize,
    next_file: AtomicU64,
    state: Mutex<State>,
    arrived: Condvar,
    /// Who fetches ahead.
    waiting: Waiting,
}

/// A window by its file and where it begins.
type Key = (u64, u64);

#[derive(Debug, Default)]
struct State {
    slots: BTreeMap<Key, Slot>,
    cost: usize,
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    cost: usize,
    /// `None`: it is being fetched.
    bytes: Option<Arc<Vec<u8>>>,
    /// Bytes that nobody has read yet, and when somebody last did.
    unread: usize,
    read: u64,
}

impl Default for Windows {
    /// As much as two windows for each thread of the machine, and some.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let budget = (2 * threads + 4).saturating_mul(WINDOW as usize);
        Self::new(WINDOW, budget.min(MAX_BUDGET))
    }
}

impl Windows {
    /// Windows of `window` bytes (at least 32), which together take `budget` bytes.
    pub fn new(window: u64, budget: usize) -> Self {
        Windows {
            window: window.max(FIRST_PART),
            budget,
            next_file: AtomicU64::new(0),
            state: Mutex::default(),
            arrived: Condvar::new(),
            waiting: Waiting::default(),
        }
    }

    /// The default of a source whose threads these are.
    pub fn of(waiting: &Waiting) -> Self {
        Windows { waiting: waiting.clone(), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The window that holds a position of a file of so many bytes. Windows do not overlap.
    fn around(&self, position: u64, bytes: u64) -> Range<u64> {
        let last = self.window / LAST_PART;
        if bytes <= last {
            return 0..bytes;
        }
        let back = if bytes > self.window { bytes - last } else { bytes };
        if position >= back {
            return back..bytes;
        }
        let first = self.window / FIRST_PART;
        let window = if position < first {
            0..first
        } else if position < self.window {
            let start = first << (position / first).ilog2();
            start..(2 * start).min(self.window)
        } else {
            let start = position - position % self.window;
            start..start + self.window
        };
        window.start..window.end.min(back)
    }
}

impl State {
    /// Makes room for `cost` by what was read longest ago: what was read to its end first and, if need be,
    /// the rest. Whether there is room then.
    fn make_room(&mut self, cost: usize, budget: usize, also_unread: bool) -> bool {
        while self.cost + cost > budget {
            let held = self.slots.iter().filter(|(_, slot)| slot.bytes.is_some());
            let oldest = held.min_by_key(|(_, slot)| (slot.unread > 0, slot.read));
            match oldest.map(|(key, slot)| (*key, slot.unread)) {
                Some((key, unread)) if also_unread || unread == 0 => self.remove(key),
                _ => return false,
            }
        }
        true
    }

    fn remove(&mut self, key: Key) {
        if let Some(slot) = self.slots.remove(&key) {
            self.cost -= slot.cost;
        }
    }

    /// It is being fetched from now on.
    fn begin(&mut self, key: Key, len: usize) {
        self.clock += 1;
        let cost = len.max(LEAST_COST);
        self.cost += cost;
        self.slots.insert(key, Slot { cost, bytes: None, unread: len, read: self.clock });
    }
}

/// A file of another machine: the [`RemoteFile`] of every source.
#[derive(Debug)]
pub struct Windowed<F: Fetch>(Arc<Shared<F>>);

#[derive(Debug)]
struct Shared<F: Fetch> {
    fetch: F,
    bytes: u64,
    file: u64,
    windows: Arc<Windows>,
    /// A file that failed once fails from then on, so that nobody takes a part of it for all of it, and
    /// nobody waits for another attempt at each of its windows.
    failed: OnceLock<RemoteError>,
}

impl<F: Fetch> Windowed<F> {
    /// Reads what `fetch` fetches, within the budget of `windows`.
    pub fn new(fetch: F, windows: &Arc<Windows>) -> Self {
        let file = windows.next_file.fetch_add(1, Relaxed);
        let bytes = fetch.bytes();
        let windows = Arc::clone(windows);
        Windowed(Arc::new(Shared { fetch, bytes, file, windows, failed: OnceLock::new() }))
    }
}

impl<F: Fetch> RemoteFile for Windowed<F> {
    fn place(&self) -> String {
        self.0.fetch.place()
    }

    fn bytes(&self) -> u64 {
        self.0.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), RemoteError> {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let window = self.0.windows.around(at, self.0.bytes);
            let len = (window.end.saturating_sub(at)).min((buffer.len() - done) as u64) as usize;
            if len == 0 {
                return Err(RemoteError::Unavailable("it is not as long as was asked".into()));
            }
            let from = (at - window.start) as usize;
            let held = self.0.window(window, len)?;
            buffer[done..done + len].copy_from_slice(&held[from..from + len]);
            done += len;
        }
        Ok(())
    }

    fn read_ahead(&self, offset: u64, len: usize) {
        let end = offset.saturating_add(len as u64).min(self.0.bytes);
        let mut at = offset;
        for _ in 0..=AHEAD {
            if at >= end || self.0.failed.get().is_some() {
                return;
            }
            let window = self.0.windows.around(at, self.0.bytes);
            at = window.end;
            match self.0.reserve(&window) {
                Reserved::Already => {}
                Reserved::Full => return,
                Reserved::Now => {
                    let shared = Arc::clone(&self.0);
                    let key = (self.0.file, window.start);
                    if !self.0.windows.waiting.in_background(move || shared.complete(&window)) {
                        return self.0.windows.lock().remove(key);
                    }
                }
            }
        }
    }
}

/// What became of the wish to fetch a window ahead.
enum Reserved {
    Already,
    Full,
    Now,
}

impl<F: Fetch> Shared<F> {
    /// A window, of which `len` bytes are about to be read.
    fn window(&self, window: Range<u64>, len: usize) -> Result<Arc<Vec<u8>>, RemoteError> {
        let key = (self.file, window.start);
        let mut state = self.windows.lock();
        loop {
            if let Some(error) = self.failed.get() {
                return Err(error.clone());
            }
            state.clock += 1;
            let now = state.clock;
            match state.slots.get_mut(&key) {
                Some(Slot { bytes: Some(bytes), unread, read, .. }) => {
                    *unread = unread.saturating_sub(len);
                    *read = now;
                    return Ok(Arc::clone(bytes));
                }
                Some(_) => {
                    state =
                        self.windows.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                None => {
                    let bytes = (window.end - window.start) as usize;
                    // Whoever waits for it comes before what others may read one day.
                    state.make_room(bytes.max(LEAST_COST), self.windows.budget, true);
                    state.begin(key, bytes);
                    drop(state);
                    self.complete(&window);
                    state = self.windows.lock();
                }
            }
        }
    }

    fn reserve(&self, window: &Range<u64>) -> Reserved {
        let key = (self.file, window.start);
        let len = (window.end - window.start) as usize;
        let mut state = self.windows.lock();
        if state.slots.contains_key(&key) {
            return Reserved::Already;
        }
        if !state.make_room(len.max(LEAST_COST), self.windows.budget, false) {
            return Reserved::Full;
        }
        state.begin(key, len);
        Reserved::Now
    }

    /// Fetches a window that was begun, and tells those who wait for it.
    fn complete(&self, window: &Range<u64>) {
        let len = (window.end - window.start) as usize;
        // Whatever happens, nobody waits for ever.
        let mut end = End { windows: &self.windows, key: (self.file, window.start), bytes: None };
        if self.failed.get().is_some() {
            return;
        }
        let fetched = self.fetch.fetch(window.start, len).and_then(|bytes| match bytes.len() {
            got if got == len => Ok(bytes),
            got => Err(RemoteError::Unavailable(format!("{got} bytes came instead of {len}"))),
        });
        match fetched {
            Ok(bytes) => end.bytes = Some(Arc::new(bytes)),
            Err(error) => {
                let _ = self.failed.set(error);
            }
        }
    }
}

/// Ends the fetch of a window, with or without its bytes.
struct End<'a> {
    windows: &'a Windows,
    key: Key,
    bytes: Option<Arc<Vec<u8>>>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.windows.lock();
        match (self.bytes.take(), state.slots.get_mut(&self.key)) {
            (Some(bytes), Some(slot)) => slot.bytes = Some(bytes),
            _ => state.remove(self.key),
        }
        drop(state);
        self.windows.arrived.notify_all();
    }
}

impl<F: Fetch> Drop for Shared<F> {
    fn drop(&mut self) {
        let mut state = self.windows.lock();
        let keys: Vec<Key> = state
            .slots
            .range((self.file, 0)..=(self.file, u64::MAX))
            .map(|(key, _)| *key)
            .collect();
        keys.into_iter().for_each(|key| state.remove(key));
    }
}

#[cfg(test)]
mod tests;
