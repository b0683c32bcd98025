//! A cache of fetched windows that all readers of a source share.
//!
//! The engines read ranges of 128 KiB; servers are asked for windows of 8 MiB, each once. All files of a source share
//! one memory budget. A reader of a window that is being fetched waits for it, while the next windows are fetched ahead.
//!
//! Windows are smaller at both ends of a file, because opening a model reads only a header at the start or a directory
//! at the end.

use super::runtime::NetworkRuntime;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use tensorseal_format::{RemoteError, RemoteFile};

/// The length of a window in bytes.
const WINDOW: u64 = 8 << 20;

/// The first window of a file is this fraction of a whole window. The next windows grow until they are whole.
const FIRST_PART: u64 = 32;

/// The last window of a long file is this fraction of a whole window.
const LAST_PART: u64 = 8;

/// The number of windows that are fetched ahead.
const AHEAD: usize = 2;

/// The smallest cost of a window in bytes. It bounds the number of tiny windows.
const MIN_COST: usize = 64 << 10;

/// The largest default budget of a source, in bytes.
const MAX_BUDGET: usize = 1 << 30;

/// A remote file that is fetched by ranges and pinned to the listed version.
pub trait FetchRange: Debug + Send + Sync + 'static {
    /// Returns the location of the file for messages, without credentials.
    fn place(&self) -> String;

    /// Returns the listed length in bytes.
    fn bytes(&self) -> u64;

    /// Fetches exactly `len` bytes at `offset`. The range must be within [`FetchRange::bytes`].
    ///
    /// # Errors
    /// Returns a [`RemoteError`] if the file changed, or if it cannot be fetched after all retries.
    fn fetch(&self, offset: u64, len: usize) -> Result<Vec<u8>, RemoteError>;
}

/// The cached windows of all files of a source.
#[derive(Debug)]
pub struct WindowCache {
    /// The length of a window in bytes.
    window: u64,
    /// The budget of all windows in bytes. For a moment, each reader may exceed it by one window.
    budget: usize,
    next_file: AtomicU64,
    state: Mutex<CacheState>,
    arrived: Condvar,
    /// The threads that fetch ahead.
    runtime: NetworkRuntime,
}

/// The key of a window: its file and its first byte.
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
    /// The content; `None` while it is being fetched.
    bytes: Option<Arc<Vec<u8>>>,
    /// The number of bytes that have not been read yet.
    unread: usize,
    /// The time of the last read on the clock of the cache.
    last_read: u64,
}

impl Default for WindowCache {
    /// Creates a cache with a budget of two windows for each thread of the machine plus four, up to 1 GiB.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let budget = (2 * threads + 4).saturating_mul(WINDOW as usize);
        Self::new(WINDOW, budget.min(MAX_BUDGET))
    }
}

impl WindowCache {
    /// Creates a cache with windows of `window` bytes (at least 32) and a budget of `budget` bytes.
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

    /// Creates a cache with the default budget that fetches ahead on these threads.
    pub fn with_runtime(runtime: &NetworkRuntime) -> Self {
        WindowCache { runtime: runtime.clone(), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the window that contains `position` in a file of `bytes` bytes. Windows do not overlap.
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
    /// Evicts windows until `cost` fits into the budget, and returns whether it fits. Windows that were read completely
    /// are evicted first and, with `also_unread`, then the others; the least recently read goes first.
    fn make_room(&mut self, cost: usize, budget: usize, also_unread: bool) -> bool {
        while self.cost + cost > budget {
            let fetched = self.windows.iter().filter(|(_, window)| window.bytes.is_some());
            let oldest = fetched.min_by_key(|(_, window)| (window.unread > 0, window.last_read));
            match oldest.map(|(key, window)| (*key, window.unread)) {
                Some((key, unread)) if also_unread || unread == 0 => self.remove(key),
                _ => return false,
            }
        }
        true
    }

    fn remove(&mut self, key: WindowKey) {
        if let Some(window) = self.windows.remove(&key) {
            self.cost -= window.cost;
        }
    }

    /// Adds a window that is being fetched.
    fn begin(&mut self, key: WindowKey, len: usize) {
        self.clock += 1;
        let cost = len.max(MIN_COST);
        self.cost += cost;
        self.windows
            .insert(key, CachedWindow { cost, bytes: None, unread: len, last_read: self.clock });
    }
}

/// A remote file that is read through a [`WindowCache`].
#[derive(Debug)]
pub struct WindowedFile<F: FetchRange>(Arc<WindowedFileInner<F>>);

#[derive(Debug)]
struct WindowedFileInner<F: FetchRange> {
    fetch: F,
    bytes: u64,
    file: u64,
    windows: Arc<WindowCache>,
    /// The first error. All later reads return it, so that a part of the file is never taken for the whole, and no reader
    /// waits for retries of every window.
    failed: OnceLock<RemoteError>,
}

impl<F: FetchRange> WindowedFile<F> {
    /// Creates a file that fetches with `fetch`, within the budget of `windows`.
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
                return Err(RemoteError::Unavailable(
                    "the read is beyond the end of the file".into(),
                ));
            }
            let from = (at - window.start) as usize;
            let content = self.0.window(window, len)?;
            buffer[done..done + len].copy_from_slice(&content[from..from + len]);
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
                Reservation::Present => {}
                Reservation::Full => return,
                Reservation::Reserved => {
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

/// The result of a reservation to fetch a window ahead.
enum Reservation {
    /// The window is cached or is being fetched.
    Present,
    /// The budget has no room.
    Full,
    /// The caller must fetch the window.
    Reserved,
}

impl<F: FetchRange> WindowedFileInner<F> {
    /// Returns a window, from which the caller reads `len` bytes.
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
                Some(CachedWindow { bytes: Some(bytes), unread, last_read, .. }) => {
                    *unread = unread.saturating_sub(len);
                    *last_read = now;
                    return Ok(Arc::clone(bytes));
                }
                Some(_) => {
                    state =
                        self.windows.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                None => {
                    let bytes = (window.end - window.start) as usize;
                    // A waiting reader has priority over windows that were fetched ahead.
                    state.make_room(bytes.max(MIN_COST), self.windows.budget, true);
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
            return Reservation::Present;
        }
        if !state.make_room(len.max(MIN_COST), self.windows.budget, false) {
            return Reservation::Full;
        }
        state.begin(key, len);
        Reservation::Reserved
    }

    /// Fetches a reserved window and wakes the waiting readers.
    fn complete(&self, window: &Range<u64>) {
        let len = (window.end - window.start) as usize;
        // The guard wakes the readers in any case.
        let mut guard =
            FetchGuard { windows: &self.windows, key: (self.file, window.start), bytes: None };
        if self.failed.get().is_some() {
            return;
        }
        let fetched = self.fetch.fetch(window.start, len).and_then(|bytes| match bytes.len() {
            received if received == len => Ok(bytes),
            received => {
                let reason = format!("received {received} bytes instead of {len}");
                Err(RemoteError::Unavailable(reason))
            }
        });
        match fetched {
            Ok(bytes) => guard.bytes = Some(Arc::new(bytes)),
            Err(error) => {
                let _ = self.failed.set(error);
            }
        }
    }
}

/// Ends the fetch of a window when it is dropped, with or without its bytes.
struct FetchGuard<'a> {
    windows: &'a WindowCache,
    key: WindowKey,
    bytes: Option<Arc<Vec<u8>>>,
}

impl Drop for FetchGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.windows.lock();
        match (self.bytes.take(), state.windows.get_mut(&self.key)) {
            (Some(bytes), Some(window)) => window.bytes = Some(bytes),
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
