//! Pointers that git-lfs leaves where a file was not fetched.

use super::file::{self, OpenedFile};
use std::io;

/// What every pointer file starts with.
pub(crate) const START: &[u8] = b"version https://git-lfs.github.com/";
/// No pointer file is longer than this.
pub(crate) const MAX: u64 = 1024;

/// Whether a file is a pointer, and the size that it states for the file it stands for.
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
