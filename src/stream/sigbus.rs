//! A guard against SIGBUS: a mapped file that is truncated under the reader.
//!
//! Touching a page of a mapping past the end of its file raises SIGBUS. The handler maps a page of
//! zeros over the fault, marks the mapping as damaged and returns, so that the read goes on; the
//! reader asks [`Guard::faulted`] afterwards and throws the measurement away. No `longjmp`, no
//! unwinding through foreign frames. A fault outside guarded mappings goes to the handler that was
//! there before.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// How many mappings can be guarded at a time; a source that finds no slot reads without a map.
const SLOTS: usize = 1024;

struct Slot {
    /// First address of the mapping; 0 when the slot is free, 1 while it is being taken.
    start: AtomicUsize,
    end: AtomicUsize,
    faulted: AtomicBool,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), faulted: AtomicBool::new(false) }
}; SLOTS];

/// What handled SIGBUS before, and the page size: both read in the handler.
static PREVIOUS: OnceLock<(libc::sigaction, usize)> = OnceLock::new();

/// The guard of one mapping; dropping it frees its slot (unmap afterwards, not before).
#[derive(Debug)]
pub struct Guard(usize);

impl Guard {
    /// Guards the addresses `start..start + len`; `None` when all slots are taken or the handler
    /// cannot be installed.
    pub fn new(start: usize, len: usize) -> Option<Guard> {
        install().ok()?;
        let end = start.checked_add(len)?;
        let index = TABLE
            .iter()
            .position(|slot| slot.start.compare_exchange(0, 1, SeqCst, SeqCst).is_ok())?;
        let slot = &TABLE[index];
        slot.faulted.store(false, SeqCst);
        slot.end.store(end, SeqCst);
        slot.start.store(start, SeqCst);
        Some(Guard(index))
    }

    /// Whether a page of the mapping was missing when it was read.
    pub fn faulted(&self) -> bool {
        TABLE[self.0].faulted.load(SeqCst)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The end first: a handler that runs between the two stores finds an empty range.
        TABLE[self.0].end.store(0, SeqCst);
        TABLE[self.0].start.store(0, SeqCst);
    }
}

fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            // SAFETY: plain calls of sysconf and sigaction; both structures are fully initialised,
            // and the handler only uses atomics and async-signal-safe system calls.
            unsafe {
                let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096);
                let mut previous: libc::sigaction = std::mem::zeroed();
                if libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut previous) != 0 {
                    return Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL));
                }
                // Stored before the handler is live: the handler reads it.
                let _ = PREVIOUS.set((previous, page));
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handler as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&mut action.sa_mask);
                if libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) != 0 {
                    return Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL));
                }
            }
            Ok(())
        })
        .map_err(io::Error::from_raw_os_error)
}

extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let Some((previous, page)) = PREVIOUS.get() else { return };
    // SAFETY: the kernel passes a valid siginfo_t for a SA_SIGINFO handler.
    let address = unsafe { (*info).si_addr() } as usize;
    for slot in &TABLE {
        let start = slot.start.load(SeqCst);
        if start > 1 && address >= start && address < slot.end.load(SeqCst) {
            slot.faulted.store(true, SeqCst);
            let at = address & !(page - 1);
            // SAFETY: the page belongs to a live guarded mapping of this process, so replacing it
            // by zeros touches nobody else's memory; mmap is a bare system call on Linux.
            let mapped = unsafe {
                libc::mmap(
                    at as *mut libc::c_void,
                    *page,
                    libc::PROT_READ,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                    -1,
                    0,
                )
            };
            if mapped != libc::MAP_FAILED {
                return;
            }
        }
    }
    // Not ours: put back what was there; the instruction faults again and finds it.
    // SAFETY: `previous` was filled by sigaction.
    unsafe { libc::sigaction(signal, previous, std::ptr::null_mut()) };
}
