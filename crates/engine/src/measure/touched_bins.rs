//! Tracks which parts of a table of 65,536 bins were written.
//!
//! A small tensor touches a few hundred bins. Adding, clearing and judging whole tables would cost more
//! than measuring it, so only the touched groups of bins are processed.

use std::ops::Range;

/// The number of bins in a table of 16-bit values.
pub const BINS: usize = 1 << 16;

/// The number of bins in a group.
const GROUP: usize = 64;

/// A flag for each group of 64 bins. A group without the flag is all zeros; one with the flag may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TouchedBins([u64; BINS / GROUP / 64]);

impl TouchedBins {
    /// The set of no groups.
    pub const NONE: TouchedBins = TouchedBins([0; BINS / GROUP / 64]);
    /// The set of all groups.
    pub const ALL: TouchedBins = TouchedBins([u64::MAX; BINS / GROUP / 64]);

    /// Adds the group of a bin.
    #[inline]
    pub fn touch(&mut self, bin: u16) {
        let group = usize::from(bin) / GROUP;
        self.0[group / 64] |= 1 << (group % 64);
    }

    /// Adds the groups of another set.
    pub fn merge(&mut self, other: &TouchedBins) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }

    /// Returns the bins of the touched groups of a table of `len` bins, group by group, in ascending order.
    pub fn groups(self, len: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
        (0..len.div_ceil(GROUP))
            .filter(move |group| self.0[group / 64] >> (group % 64) & 1 == 1)
            .map(move |group| group * GROUP..(group * GROUP + GROUP).min(len))
    }
}
