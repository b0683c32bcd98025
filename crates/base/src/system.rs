//! Wraps what differs between operating systems, so that no other code depends on the target.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

/// Returns the directory that a path is in; `.` for a plain file name.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Opens a file for reading. Does not block if the path is a FIFO.
///
/// # Errors
/// Returns the errors of opening a file.
pub fn open_for_reading(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK);
    }
    options.open(path)
}

/// Fills `buffer` with the bytes of `file` from `offset` on, independently of other readers of the same handle.
///
/// # Errors
/// Returns the errors of reading, and [`io::ErrorKind::UnexpectedEof`] if the file ends before the buffer is full.
pub fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset);
    #[cfg(windows)]
    return all_at(buffer.len(), offset, |done, at| {
        std::os::windows::fs::FileExt::seek_read(file, &mut buffer[done..], at)
    });
    #[cfg(not(any(unix, windows)))]
    {
        let _ = (file, buffer, offset);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Writes all of `bytes` to `file` from `offset` on, independently of other writers of the same handle.
///
/// # Errors
/// Returns the errors of writing.
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_all_at(file, bytes, offset);
    #[cfg(windows)]
    return all_at(bytes.len(), offset, |done, at| {
        std::os::windows::fs::FileExt::seek_write(file, &bytes[done..], at)
    });
    #[cfg(not(any(unix, windows)))]
    {
        let _ = (file, bytes, offset);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Repeats a transfer until all `len` bytes are done. `step` gets the number of bytes done and the next position.
#[cfg(windows)]
fn all_at(
    len: usize,
    offset: u64,
    mut step: impl FnMut(usize, u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut done = 0;
    while done < len {
        match step(done, offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(some) => done += some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sets the permissions of the files that `builder` creates (less the umask). Does nothing on systems without
/// Unix permissions.
pub fn set_mode(builder: &mut tempfile::Builder<'_, '_>, mode: u32) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = (builder, mode);
}

/// The Unix permission bits of a file, or `None` on systems without them.
pub fn permission_mode(metadata: &Metadata) -> Option<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Some(metadata.permissions().mode() & 0o7777)
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        None
    }
}

/// Creates a symbolic link to a directory.
///
/// # Errors
/// Returns the errors of creating the link.
pub fn symlink_directory(target: &str, link: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::symlink(target, link);
    #[cfg(windows)]
    return std::os::windows::fs::symlink_dir(target, link);
    #[cfg(not(any(unix, windows)))]
    {
        let _ = (target, link);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Syncs a directory to disk, so that the names of new files are durable. Does nothing on systems that need no
/// such call.
///
/// # Errors
/// Returns the errors of opening and syncing the directory.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return File::open(directory)?.sync_all();
    #[cfg(not(unix))]
    {
        let _ = directory;
        Ok(())
    }
}

/// Whether two paths lead to the same file.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        match (a.metadata(), b.metadata()) {
            (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
            _ => false,
        }
    }
    #[cfg(not(unix))]
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// The free space in bytes on the file system of a file, or `None` if the system does not say.
pub fn free_space(file: &File) -> Option<u64> {
    #[cfg(unix)]
    {
        use std::os::fd::AsRawFd;
        let mut stats = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
        // SAFETY: the descriptor is open, and the call fills the structure or fails.
        let stats = match unsafe { libc::fstatvfs(file.as_raw_fd(), stats.as_mut_ptr()) } {
            // SAFETY: the call filled it, and all zeroes are a valid value anyway.
            0 => unsafe { stats.assume_init() },
            _ => return None,
        };
        // The field types differ between platforms.
        #[allow(clippy::unnecessary_cast)]
        Some((stats.f_bavail as u64).saturating_mul(stats.f_frsize as u64))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        None
    }
}

/// The numeric id of the current user, or `None` on systems without numeric user ids.
pub fn user_id() -> Option<u32> {
    #[cfg(unix)]
    // SAFETY: it has no preconditions.
    return Some(unsafe { libc::getuid() });
    #[cfg(not(unix))]
    None
}
