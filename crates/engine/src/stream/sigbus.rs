//! A guard against SIGBUS, for mapped files that are truncated while they are read.
//!
//! Touching a page of a mapping past the end of its file raises SIGBUS. The handler maps a page of
//! zeros over the fault, marks the mapping as damaged and returns, so that the read continues. The
//! reader calls [`Guard::faulted`] afterwards and discards the measurement. There is no `longjmp` and no
//! unwinding through foreign frames. A fault outside of guarded mappings is passed to the handler that
//! was installed before, and this handler stays installed. Only if the previous handler would have ended
//! the process, the default action is restored, and the instruction faults again.
//!
//! On other systems than Unix a mapped file cannot be truncated.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// How many mappings can be guarded at a time. If the table is full, a file is read without a map.
const ENTRIES: usize = 1024;

struct GuardEntry {
    /// The first address of the mapping; 0 if the entry is free, 1 while it is being taken.
    start: AtomicUsize,
    end: AtomicUsize,
    faulted: AtomicBool,
}

static TABLE: [GuardEntry; ENTRIES] = [const {
    GuardEntry {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        faulted: AtomicBool::new(false),
    }
}; ENTRIES];

/// The previous handler of SIGBUS and the page size, which the handler reads.
static PREVIOUS: OnceLock<(libc::sigaction, usize)> = OnceLock::new();

/// The guard of one mapping. Dropping it frees its table entry; the mapping must still exist then.
#[derive(Debug)]
pub(super) struct Guard(usize);

impl Guard {
    /// Guards the addresses `start..start + len`. Returns `None` if the table is full or the handler
    /// cannot be installed.
    pub(super) fn new(start: usize, len: usize) -> Option<Guard> {
        install().ok()?;
        let end = start.checked_add(len)?;
        let index = TABLE
            .iter()
            .position(|entry| entry.start.compare_exchange(0, 1, SeqCst, SeqCst).is_ok())?;
        let entry = &TABLE[index];
        entry.faulted.store(false, SeqCst);
        entry.end.store(end, SeqCst);
        entry.start.store(start, SeqCst);
        Some(Guard(index))
    }

    /// Returns whether a page of the mapping was missing when it was read.
    pub(super) fn faulted(&self) -> bool {
        TABLE[self.0].faulted.load(SeqCst)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The end is cleared first: a handler that runs between the two stores finds an empty range.
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

/// Saves the `errno` of the interrupted thread, and restores it when dropped.
struct Errno(i32);

impl Errno {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    fn location() -> *mut i32 {
        // SAFETY: this only returns the address of a variable of the thread.
        unsafe {
            #[cfg(target_os = "linux")]
            return libc::__errno_location();
            #[cfg(target_os = "macos")]
            return libc::__error();
        }
    }

    fn save() -> Self {
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        // SAFETY: the variable exists as long as its thread does.
        return Self(unsafe { *Self::location() });
        #[cfg(not(any(target_os = "linux", target_os = "macos")))]
        Self(0)
    }
}

impl Drop for Errno {
    fn drop(&mut self) {
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        // SAFETY: as above.
        unsafe {
            *Self::location() = self.0;
        }
    }
}

extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some((previous, page)) = PREVIOUS.get() else { return };
    let _errno = Errno::save();
    // SAFETY: the kernel passes a valid siginfo_t for a SA_SIGINFO handler.
    let address = unsafe { (*info).si_addr() } as usize;
    for entry in &TABLE {
        let start = entry.start.load(SeqCst);
        if start > 1 && address >= start && address < entry.end.load(SeqCst) {
            entry.faulted.store(true, SeqCst);
            let at = address & !(page - 1);
            // SAFETY: the page belongs to a live guarded mapping of this process, so replacing it
            // by zeros touches no other memory; mmap is a bare system call on Linux.
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
    // SAFETY: the arguments are those that the kernel passed.
    unsafe { call(previous, signal, info, context) };
}

/// Handles a signal as if this handler were not installed.
///
/// # Safety
/// `previous` must have been filled by sigaction; the other arguments must be those of a handler.
unsafe fn call(
    previous: &libc::sigaction,
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the caller guarantees the arguments. Only async-signal-safe functions are called, and a handler
    // with the arguments that its flags require, while the signals of its mask are blocked.
    unsafe {
        // Signals that are no faults were sent by a process, and may be ignored.
        let is_fault = (*info).si_code > 0;
        match previous.sa_sigaction {
            libc::SIG_IGN if !is_fault => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                let mut default: libc::sigaction = std::mem::zeroed();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigemptyset(&mut default.sa_mask);
                libc::sigaction(signal, &default, std::ptr::null_mut());
                if !is_fault {
                    // The signal is blocked while its handler runs: it is delivered when this one returns.
                    libc::raise(signal);
                }
            }
            function => {
                let mut before: libc::sigset_t = std::mem::zeroed();
                libc::pthread_sigmask(libc::SIG_BLOCK, &previous.sa_mask, &mut before);
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    type WithInfo = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
                    let function: WithInfo = std::mem::transmute(function);
                    function(signal, info, context);
                } else {
                    let function: extern "C" fn(i32) = std::mem::transmute(function);
                    function(signal);
                }
                libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::process::Command;
    use std::sync::atomic::AtomicU32;

    /// Set in the child process that takes the faults, because the test process has other threads.
    const CHILD: &str = "TENSORSEAL_TEST_FAULTS";

    static CALLED: AtomicU32 = AtomicU32::new(0);

    /// The handler of a host program, which repairs its own faults.
    extern "C" fn host(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        CALLED.fetch_add(1, SeqCst);
        // SAFETY: the test maps and reads this page alone outside of guarded mappings.
        unsafe {
            let at = (*info).si_addr() as usize & !4095;
            let fixed = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            libc::mmap(at as *mut libc::c_void, 4096, libc::PROT_READ, fixed, -1, 0);
        }
    }

    /// Maps a page of a file that was then truncated, and returns its address.
    fn lost_page() -> (File, usize) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        // SAFETY: this is a new mapping.
        let at = unsafe {
            use std::os::fd::AsRawFd;
            let (null, fd) = (std::ptr::null_mut(), file.as_raw_fd());
            libc::mmap(null, 4096, libc::PROT_READ, libc::MAP_SHARED, fd, 0)
        };
        assert_ne!(at, libc::MAP_FAILED);
        file.set_len(0).unwrap();
        (file, at as usize)
    }

    fn read(at: usize) -> u8 {
        // SAFETY: the address is mapped, and its fault is handled.
        unsafe { (at as *const u8).read_volatile() }
    }

    fn faults_of_a_host_and_ours() {
        // SAFETY: the handler has the signature that its flags require.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = host as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigemptyset(&mut action.sa_mask);
            assert_eq!(libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()), 0);
        }
        for turn in 1..4 {
            let (_ours, guarded) = lost_page();
            let guard = Guard::new(guarded, 4096).unwrap();
            assert!(!guard.faulted());
            assert_eq!(read(guarded), 0);
            assert!(guard.faulted(), "turn {turn}: the handler is still there");
            assert_eq!(CALLED.load(SeqCst), turn - 1);
            let (_theirs, other) = lost_page();
            assert_eq!(read(other), 0);
            assert_eq!(CALLED.load(SeqCst), turn, "the handler of the host is called");
        }
    }

    #[test]
    fn the_handler_of_a_host_is_called_and_ours_stays() {
        if std::env::var_os(CHILD).is_some() {
            return faults_of_a_host_and_ours();
        }
        let (_, path) = module_path!().split_once("::").unwrap();
        let name = format!("{path}::the_handler_of_a_host_is_called_and_ours_stays");
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", &name]).env(CHILD, "1").output().unwrap();
        let output_text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && output_text.contains("1 passed"), "{output:?}");
    }

    #[test]
    fn without_a_handler_a_fault_still_ends_the_process() {
        if std::env::var_os(CHILD).is_some() {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: a plain call, so that the child leaves no core file.
            unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
            let (_ours, guarded) = lost_page();
            let _guard = Guard::new(guarded, 4096).unwrap();
            assert_eq!(read(guarded), 0);
            let (_theirs, other) = lost_page();
            read(other);
            return;
        }
        let (_, path) = module_path!().split_once("::").unwrap();
        let name = format!("{path}::without_a_handler_a_fault_still_ends_the_process");
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", &name]).env(CHILD, "1").output().unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{output:?}");
    }
}
