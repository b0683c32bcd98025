//! The identity of a file, which tells whether it was replaced or modified.

use serde::{Deserialize, Serialize};
use std::fs::Metadata;

/// The identity of a file, which tells whether it was replaced or modified since it was opened. For a file on
/// another machine only the length is set, because each read is pinned to the listed version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device number.
    pub device: u64,
    /// The inode number on that device.
    pub inode: u64,
    /// The length in bytes.
    pub bytes: u64,
    /// The modification time in seconds and nanoseconds.
    pub modified: (i64, i64),
    /// The change time in seconds and nanoseconds, which also changes when the modification time is set back.
    pub changed: (i64, i64),
}

impl FileIdentity {
    /// The identity of an opened file.
    #[cfg(unix)]
    pub fn of(metadata: &Metadata) -> FileIdentity {
        use std::os::unix::fs::MetadataExt;
        FileIdentity {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The identity of an opened file.
    #[cfg(not(unix))]
    pub fn of(metadata: &Metadata) -> FileIdentity {
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .map_or((0, 0), |t| (t.as_secs() as i64, i64::from(t.subsec_nanos())));
        FileIdentity { device: 0, inode: 0, bytes: metadata.len(), modified, changed: (0, 0) }
    }
}

impl FileIdentity {
    /// The identity of a file of which only the length is known.
    pub(crate) fn from_length(bytes: u64) -> FileIdentity {
        FileIdentity { device: 0, inode: 0, bytes, modified: (0, 0), changed: (0, 0) }
    }

    /// Describes the first difference, or returns `None` if there is none.
    pub fn difference(&self, now: &Self) -> Option<&'static str> {
        if (self.device, self.inode) != (now.device, now.inode) {
            Some("another file took its place")
        } else if self.bytes != now.bytes {
            Some("its length changed")
        } else if self.modified != now.modified {
            Some("it was written to")
        } else if self.changed != now.changed {
            Some("its attributes changed")
        } else {
            None
        }
    }
}
