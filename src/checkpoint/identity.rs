//! Whether a file is still the one that was opened.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// What identifies a file and its state: compared before and after it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIdentity {
    /// Device and inode.
    pub inode: (u64, u64),
    /// Length in bytes.
    pub bytes: u64,
    /// Modification time, seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Change time, seconds and nanoseconds: moves also when the modification time was set back.
    pub changed: (i64, i64),
}

impl FileIdentity {
    /// The identity of an open file, or of whatever is at a path now.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// In words, what differs; `None` when nothing does.
    pub fn difference(&self, now: &Self) -> Option<&'static str> {
        if self.inode != now.inode {
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
