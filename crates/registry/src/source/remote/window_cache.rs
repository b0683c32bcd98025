//! What was fetched, shared by everyone who reads it.
//!
//! The engines read in pieces of 128 KiB and look a little behind them; another machine is asked for
//! windows of 8 MiB, each once. All files of a source share one budget of memory. Who reads a window that
//! is being fetched waits for it; the next ones are fetched meanwhile.
//!
//! At both ends of a file windows are smaller: whoever opens a model reads a header at the front or a
//! directory at the back, and not yet what lies between.

use super::runtime::NetworkRuntime;
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
pub trait FetchRange: Debug + Send + Sync + 'static {
    /// Where it is, for messages, without credentials.
    fn place(&self) -> String;

    /// Its length in bytes, as it was listed.
    fn bytes(&self) -> u64;

    /// The `len` bytes from `offset` on, which lie within [`FetchRange::bytes`]; no more and no fewer.
    ///
    /// # Errors
    /// [`RemoteError`], after as many attempts as are worth it.
    fn fetch(&self, offset: u64, len: usize) -> Result<Vec<u8>, RemoteError>;
}

/// The windows of all files of a source.
#[derive(Debug)]
pub struct WindowCache {
    /// Bytes of a window, and of all of them. One window more for each reader may be there for a moment.
    window: u64,
    budget: usize,
    next_file: AtomicU64,
    state: Mutex<CacheState>,
    arrived: Condvar,
    /// Who fetches ahead.
    runtime: NetworkRuntime,
}

/// A window by its file and where it begins.
type WindowKey = (u64, u64);

#[derive(Debug, Default)]
struct CacheState {
    windows: BTreeMap<WindowKey, CachedWindow>,
    cost: usize,
    clock: u64,
}

#[derive(Debug)]
struct CachedWindow {
    cost: usize,
    /// `None`: it is being fetched.
    bytes: Option<Arc<Vec<u8>>>,
    /// Bytes that nobody has read yet, and when somebody last did.
    unread: usize,
    read: u64,
}

impl Default for WindowCache {
    /// As much as two windows for each thread of the machine, and some.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let budget = (2 * threads + 4).saturating_mul(WINDOW as usize);
        Self::new(WINDOW, budget.min(MAX_BUDGET))
    }
}

impl WindowCache {
    /// Windows of `window` bytes (at least 32), which together take `budget` bytes.
    pub fn new(window: u64, budget: usize) -> Self {
        WindowCache {
            window: window.max(FIRST_PART),
            budget,
            next_file: AtomicU64::new(0),
            state: Mutex::default(),
            arrived: Condvar::new(),
            runtime: NetworkRuntime::default(),
        }
    }

    /// The default of a source whose threads these are.
    pub fn with_runtime(waiting: &NetworkRuntime) -> Self {
        WindowCache { runtime: waiting.clone(), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The window that holds a position of a file of so many bytes. Windows do not overlap.
    fn window_at(&self, position: u64, bytes: u64) -> Range<u64> {
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

impl CacheState {
    /// Makes room for `cost` by what was read longest ago: what was read to its end first and, if need be,
    /// the rest. Whether there is room then.
    fn make_room(&mut self, cost: usize, budget: usize, also_unread: bool) -> bool {
        while self.cost + cost > budget {
            let held = self.windows.iter().filter(|(_, slot)| slot.bytes.is_some());
            let oldest = held.min_by_key(|(_, slot)| (slot.unread > 0, slot.read));
            match oldest.map(|(key, slot)| (*key, slot.unread)) {
                Some((key, unread)) if also_unread || unread == 0 => self.remove(key),
                _ => return false,
            }
        }
        true
    }

    fn remove(&mut self, key: WindowKey) {
        if let Some(slot) = self.windows.remove(&key) {
            self.cost -= slot.cost;
        }
    }

    /// It is being fetched from now on.
    fn begin(&mut self, key: WindowKey, len: usize) {
        self.clock += 1;
        let cost = len.max(LEAST_COST);
        self.cost += cost;
        self.windows.insert(key, CachedWindow { cost, bytes: None, unread: len, read: self.clock });
    }
}

/// A file of another machine: the [`RemoteFile`] of every source.
#[derive(Debug)]
pub struct WindowedFile<F: FetchRange>(Arc<WindowedFileInner<F>>);

#[derive(Debug)]
struct WindowedFileInner<F: FetchRange> {
    fetch: F,
    bytes: u64,
    file: u64,
    windows: Arc<WindowCache>,
    /// A file that failed once fails from then on, so that nobody takes a part of it for all of it, and
    /// nobody waits for another attempt at each of its windows.
    failed: OnceLock<RemoteError>,
}

impl<F: FetchRange> WindowedFile<F> {
    /// Reads what `fetch` fetches, within the budget of `windows`.
    pub fn new(fetch: F, windows: &Arc<WindowCache>) -> Self {
        let file = windows.next_file.fetch_add(1, Relaxed);
        let bytes = fetch.bytes();
        let windows = Arc::clone(windows);
        WindowedFile(Arc::new(WindowedFileInner {
            fetch,
            bytes,
            file,
            windows,
            failed: OnceLock::new(),
        }))
    }
}

impl<F: FetchRange> RemoteFile for WindowedFile<F> {
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
            let window = self.0.windows.window_at(at, self.0.bytes);
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
            let window = self.0.windows.window_at(at, self.0.bytes);
            at = window.end;
            match self.0.reserve(&window) {
                Reservation::Already => {}
                Reservation::Full => return,
                Reservation::Now => {
                    let shared = Arc::clone(&self.0);
                    let key = (self.0.file, window.start);
                    if !self.0.windows.runtime.spawn_blocking(move || shared.complete(&window)) {
                        return self.0.windows.lock().remove(key);
                    }
                }
            }
        }
    }
}

/// What became of the wish to fetch a window ahead.
enum Reservation {
    Already,
    Full,
    Now,
}

impl<F: FetchRange> WindowedFileInner<F> {
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
            match state.windows.get_mut(&key) {
                Some(CachedWindow { bytes: Some(bytes), unread, read, .. }) => {
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

    fn reserve(&self, window: &Range<u64>) -> Reservation {
        let key = (self.file, window.start);
        let len = (window.end - window.start) as usize;
        let mut state = self.windows.lock();
        if state.windows.contains_key(&key) {
            return Reservation::Already;
        }
        if !state.make_room(len.max(LEAST_COST), self.windows.budget, false) {
            return Reservation::Full;
        }
        state.begin(key, len);
        Reservation::Now
    }

    /// Fetches a window that was begun, and tells those who wait for it.
    fn complete(&self, window: &Range<u64>) {
        let len = (window.end - window.start) as usize;
        // Whatever happens, nobody waits for ever.
        let mut end =
            FetchGuard { windows: &self.windows, key: (self.file, window.start), bytes: None };
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
struct FetchGuard<'a> {
    windows: &'a WindowCache,
    key: WindowKey,
    bytes: Option<Arc<Vec<u8>>>,
}

impl Drop for FetchGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.windows.lock();
        match (self.bytes.take(), state.windows.get_mut(&self.key)) {
            (Some(bytes), Some(slot)) => slot.bytes = Some(bytes),
            _ => state.remove(self.key),
        }
        drop(state);
        self.windows.arrived.notify_all();
    }
}

impl<F: FetchRange> Drop for WindowedFileInner<F> {
    fn drop(&mut self) {
        let mut state = self.windows.lock();
        let keys: Vec<WindowKey> = state
            .windows
            .range((self.file, 0)..=(self.file, u64::MAX))
            .map(|(key, _)| *key)
            .collect();
        keys.into_iter().for_each(|key| state.remove(key));
    }
}

#[cfg(test)]
mod tests;
