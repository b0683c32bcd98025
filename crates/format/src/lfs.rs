//! Recognises the pointer files of git-lfs, which stand in for files that were not fetched.

use super::file::{self, OpenedFile};
use std::io;

/// The start of every pointer file.
pub(crate) const START: &[u8] = b"version https://git-lfs.github.com/";
/// The longest pointer file in bytes.
pub(crate) const MAX: u64 = 1024;

/// Returns `None` if the file is not a pointer; otherwise the size that it states for the real file, if any.
pub(crate) fn pointer(opened: &OpenedFile) -> io::Result<Option<Option<u64>>> {
    let bytes = opened.identity.bytes;
    if bytes < START.len() as u64 || bytes > MAX {
        return Ok(None);
    }
    let text = file::read_at(&opened.file, 0, bytes as usize)?;
    Ok(text.starts_with(START).then(|| size(&text)))
}

fn size(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.lines().find_map(|line| line.strip_prefix("size "))?.trim().parse().ok()
}
