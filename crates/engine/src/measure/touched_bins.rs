//! Which parts of a table of 65,536 bins are in use.
//!
//! A small tensor touches a few hundred bins. Adding up, clearing and judging whole tables would cost
//! more than measuring it; marks say which groups of bins need a look.

use std::ops::Range;

/// Bins of a table of 16-bit values.
pub const BINS: usize = 1 << 16;

/// Bins a mark stands for.
const GROUP: usize = 64;

/// One mark for each group of 64 bins. An unmarked group is all zeros; a marked one may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TouchedBins([u64; BINS / GROUP / 64]);

impl TouchedBins {
    /// No group.
    pub const NONE: TouchedBins = TouchedBins([0; BINS / GROUP / 64]);
    /// Every group.
    pub const ALL: TouchedBins = TouchedBins([u64::MAX; BINS / GROUP / 64]);

    /// Marks the group of a bin.
    #[inline]
    pub fn touch(&mut self, bin: u16) {
        let group = usize::from(bin) / GROUP;
        self.0[group / 64] |= 1 << (group % 64);
    }

    /// Marks what either has marked.
    pub fn merge(&mut self, other: &TouchedBins) {
        for (marks, other) in self.0.iter_mut().zip(other.0) {
            *marks |= other;
        }
    }

    /// The bins of marked groups of a table of `len` bins, group by group, in ascending order.
    pub fn groups(self, len: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
        (0..len.div_ceil(GROUP))
            .filter(move |group| self.0[group / 64] >> (group % 64) & 1 == 1)
            .map(move |group| group * GROUP..(group * GROUP + GROUP).min(len))
    }
}
