//! `histogram`: exact counts of the words of a tensor.
//!
//! 8-bit words have 256 bins, 16-bit words 65,536. Wider words have two tables of 65,536 bins, one
//! for the highest and one for the lowest 16 bits. For 8- and 16-bit types the counts are an exact
//! sufficient statistic for everything that ignores order. Shader twin: `shaders/histogram.wgsl`.

use super::WordFormat;
pub use super::touched_bins::BINS;
use super::touched_bins::TouchedBins;

/// The counts of the words of a tensor or a part of it. Merging adds them.
#[derive(Debug, Clone)]
pub struct Histogram {
    high: Vec<u64>,
    low: Vec<u64>,
    high_touched: TouchedBins,
    low_touched: TouchedBins,
}

/// Compares counts only; which bins are marked as touched does not matter.
impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        self.high == other.high && self.low == other.low
    }
}

impl Eq for Histogram {}

impl Histogram {
    /// Creates an empty histogram.
    pub fn new(words: WordFormat) -> Self {
        let (high, low) = bins(words);
        let none = TouchedBins::NONE;
        Self { high: vec![0; high], low: vec![0; low], high_touched: none, low_touched: none }
    }

    /// Returns the counts by whole word (8 and 16 bits) or by the highest 16 bits; 256 or 65,536 bins.
    pub fn high(&self) -> &[u64] {
        &self.high
    }

    /// Returns the counts by the lowest 16 bits of wider words; empty for 8 and 16 bits.
    pub fn low(&self) -> &[u64] {
        &self.low
    }

    /// Returns which bins of [`Histogram::high`] may have counts.
    pub fn high_touched(&self) -> TouchedBins {
        self.high_touched
    }

    /// Returns which bins of [`Histogram::low`] may have counts.
    pub fn low_touched(&self) -> TouchedBins {
        self.low_touched
    }

    /// Adds the counts of another part of the same tensor.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.high, &other.high, other.high_touched);
        add(&mut self.low, &other.low, other.low_touched);
        self.high_touched.merge(&other.high_touched);
        self.low_touched.merge(&other.low_touched);
    }

    /// Adds the 32-bit counts of a tile that a device returned.
    pub fn add_counts(&mut self, high: &[u32], low: &[u32]) {
        add(&mut self.high, high, TouchedBins::ALL);
        add(&mut self.low, low, TouchedBins::ALL);
        self.high_touched = TouchedBins::ALL;
        self.low_touched = TouchedBins::ALL;
    }

    /// Marks all bins as touched, so that counting need not mark them.
    pub(super) fn touch_all(&mut self) {
        self.high_touched = TouchedBins::ALL;
        self.low_touched = TouchedBins::ALL;
    }

    /// Counts a word of up to 16 bits, or the highest 16 bits of one. `mark` is false if all bins are marked.
    #[inline(always)]
    pub(super) fn count(&mut self, word: u16, mark: bool) {
        self.high[usize::from(word)] += 1;
        if mark {
            self.high_touched.touch(word);
        }
    }

    /// Counts the lowest 16 bits of a word.
    #[inline(always)]
    pub(super) fn count_low(&mut self, word: u16, mark: bool) {
        self.low[usize::from(word)] += 1;
        if mark {
            self.low_touched.touch(word);
        }
    }

    /// Returns the number of words that were counted.
    pub fn total(&self) -> u64 {
        let groups = self.high_touched.groups(self.high.len());
        groups.map(|group| self.high[group].iter().sum::<u64>()).sum()
    }

    /// Sets all counts to zero, and keeps the memory.
    pub fn clear(&mut self) {
        for group in self.high_touched.groups(self.high.len()) {
            self.high[group].fill(0);
        }
        for group in self.low_touched.groups(self.low.len()) {
            self.low[group].fill(0);
        }
        self.high_touched = TouchedBins::NONE;
        self.low_touched = TouchedBins::NONE;
    }
}

/// Returns the numbers of bins of the high and of the low table.
pub fn bins(words: WordFormat) -> (usize, usize) {
    match words.width() {
        1 => (256, 0),
        2 => (BINS, 0),
        _ => (BINS, BINS),
    }
}

fn add<T: Copy + Into<u64>>(sum: &mut [u64], part: &[T], touched: TouchedBins) {
    for group in touched.groups(sum.len()) {
        for (sum, part) in sum[group.clone()].iter_mut().zip(&part[group]) {
            *sum += (*part).into();
        }
    }
}

/// The number of bytes that are examined together, a cache line.
const LINE: usize = 64;

/// Returns the eight bytes that a line repeats; `None` if it does not repeat.
#[inline(always)]
fn repeated(line: &[u8; LINE]) -> Option<u64> {
    let words = line.as_chunks::<8>().0;
    let first = u64::from_le_bytes(words[0]);
    let differs = words.iter().fold(0, |bits, word| bits | (u64::from_le_bytes(*word) ^ first));
    (differs == 0).then_some(first)
}

/// The working tables of one CPU thread, with 32-bit counts that are drained before they can overflow.
pub struct CounterTable {
    high: Box<[u32; BINS]>,
    /// A second copy of `high` for every other word, so that runs of one value do not wait for their own
    /// stores; for wide words, the table of low halves.
    other: Box<[u32; BINS]>,
    high_touched: TouchedBins,
    other_touched: TouchedBins,
}

/// For up to this number of bytes each touched bin is marked; for more, all bins are marked.
const TOUCH_LIMIT_BYTES: usize = 16 << 10;

impl Default for CounterTable {
    fn default() -> Self {
        Self::new()
    }
}

impl CounterTable {
    /// Creates an empty table of 2 × 65,536 counts.
    #[allow(clippy::missing_panics_doc)] // Never panics: the length is a constant.
    pub fn new() -> Self {
        let zeros = || vec![0u32; BINS].into_boxed_slice().try_into().expect("BINS counts");
        let none = TouchedBins::NONE;
        Self { high: zeros(), other: zeros(), high_touched: none, other_touched: none }
    }

    /// CPU kernel: counts the words of `bytes`. At most 2^32 − 1 words may be counted between two
    /// calls of [`CounterTable::drain_into`].
    pub fn count(&mut self, words: WordFormat, bytes: &[u8]) {
        self.touch(words, bytes);
        let (lines, rest) = bytes.as_chunks::<LINE>();
        let count = match words.width() {
            1 => Self::count8,
            2 => Self::count16,
            4 => Self::count32,
            _ => Self::count64,
        };
        for line in lines {
            // Constant ranges would otherwise wait for their own stores.
            match repeated(line) {
                Some(first) => count(self, &first.to_le_bytes(), (LINE / 8) as u32),
                None => count(self, line, 1),
            }
        }
        count(self, rest, 1);
    }

    /// Marks the bins that `bytes` count into.
    fn touch(&mut self, words: WordFormat, bytes: &[u8]) {
        if bytes.len() > TOUCH_LIMIT_BYTES || words.width() == 1 {
            // The 256 bins of 8-bit words are only four groups, so all are marked.
            self.high_touched = TouchedBins::ALL;
            self.other_touched = TouchedBins::ALL;
            return;
        }
        for word in bytes.chunks_exact(words.width()) {
            let last = [word[word.len() - 2], word[word.len() - 1]];
            self.high_touched.touch(u16::from_le_bytes(last));
            let first = u16::from_le_bytes([word[0], word[1]]);
            self.other_touched.touch(first);
        }
    }

    #[inline(always)]
    fn count8(&mut self, bytes: &[u8], times: u32) {
        for pair in bytes.as_chunks::<2>().0 {
            self.high[usize::from(pair[0])] += times;
            self.other[usize::from(pair[1])] += times;
        }
        if let [.., last] = bytes
            && bytes.len() % 2 == 1
        {
            self.high[usize::from(*last)] += times;
        }
    }

    #[inline(always)]
    fn count16(&mut self, bytes: &[u8], times: u32) {
        let (pairs, rest) = bytes.as_chunks::<4>();
        for pair in pairs {
            let v = u32::from_le_bytes(*pair);
            self.high[usize::from(v as u16)] += times;
            self.other[(v >> 16) as usize] += times;
        }
        for word in rest.as_chunks::<2>().0 {
            self.high[usize::from(u16::from_le_bytes(*word))] += times;
        }
    }

    #[inline(always)]
    fn count32(&mut self, bytes: &[u8], times: u32) {
        for word in bytes.as_chunks::<4>().0 {
            let v = u32::from_le_bytes(*word);
            self.high[(v >> 16) as usize] += times;
            self.other[usize::from(v as u16)] += times;
        }
    }

    #[inline(always)]
    fn count64(&mut self, bytes: &[u8], times: u32) {
        for word in bytes.as_chunks::<8>().0 {
            let v = u64::from_le_bytes(*word);
            self.high[(v >> 48) as usize] += times;
            self.other[usize::from(v as u16)] += times;
        }
    }

    /// Adds the counts to `sum` and empties the table.
    pub fn drain_into(&mut self, words: WordFormat, sum: &mut Histogram) {
        let (high, low) = bins(words);
        let (high_touched, other_touched) = (self.high_touched, self.other_touched);
        add(&mut sum.high, &self.high[..high], high_touched);
        sum.high_touched.merge(&high_touched);
        if low == 0 {
            add(&mut sum.high, &self.other[..high], other_touched);
            sum.high_touched.merge(&other_touched);
        } else {
            add(&mut sum.low, &self.other[..low], other_touched);
            sum.low_touched.merge(&other_touched);
        }
        for group in high_touched.groups(high) {
            self.high[group].fill(0);
        }
        for group in other_touched.groups(high.max(low)) {
            self.other[group].fill(0);
        }
        self.high_touched = TouchedBins::NONE;
        self.other_touched = TouchedBins::NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(words: WordFormat, bytes: &[u8]) -> Histogram {
        let mut table = CounterTable::new();
        let mut sum = Histogram::new(words);
        table.count(words, bytes);
        table.drain_into(words, &mut sum);
        sum
    }

    /// The definition: one word at a time.
    fn by_definition(words: WordFormat, bytes: &[u8]) -> Histogram {
        let mut sum = Histogram::new(words);
        for word in bytes.chunks_exact(words.width()) {
            let value = word.iter().rev().fold(0u64, |v, byte| v << 8 | u64::from(*byte));
            let high = if words.width() > 2 { value >> (8 * words.width() - 16) } else { value };
            sum.high[high as usize] += 1;
            if !sum.low.is_empty() {
                sum.low[(value & 0xFFFF) as usize] += 1;
            }
        }
        sum
    }

    proptest! {
        #[test]
        fn counts_are_the_definition(
            mut bytes in prop::collection::vec(any::<u8>(), 0..400),
            run in 0usize..300,
            byte: u8,
        ) {
            // Noise with a run of one value.
            let end = bytes.len().min(run + 160);
            bytes[run.min(end)..end].fill(byte);
            for words in WordFormat::ALL {
                prop_assert_eq!(histogram(words, &bytes), by_definition(words, &bytes));
            }
        }

        #[test]
        fn unmarked_bins_are_zero(bytes in prop::collection::vec(any::<u8>(), 0..200), more in 0usize..2) {
            for words in WordFormat::ALL {
                let mut sum = histogram(words, &bytes);
                if more == 1 {
                    sum.merge(&histogram(words, &bytes[..bytes.len() / 2]));
                }
                let seen: u64 = sum.high_touched().groups(sum.high().len())
                    .map(|g| sum.high()[g].iter().sum::<u64>()).sum();
                prop_assert_eq!(seen, sum.high().iter().sum::<u64>());
                let seen: u64 = sum.low_touched().groups(sum.low().len())
                    .map(|g| sum.low()[g].iter().sum::<u64>()).sum();
                prop_assert_eq!(seen, sum.low().iter().sum::<u64>());
                sum.clear();
                prop_assert_eq!(sum, Histogram::new(words));
            }
        }

        #[test]
        fn parts_merge_to_the_whole(bytes in prop::collection::vec(any::<u8>(), 64), cut in 0usize..8) {
            for words in WordFormat::ALL {
                let (a, b) = bytes.split_at(cut * 8);
                let mut sum = histogram(words, a);
                sum.merge(&histogram(words, b));
                prop_assert_eq!(sum, histogram(words, &bytes));
            }
        }
    }

    #[test]
    fn a_drained_table_is_empty() {
        let mut table = CounterTable::new();
        for words in WordFormat::ALL {
            table.count(words, &[0xA5; 64]);
            table.drain_into(words, &mut Histogram::new(words));
            let mut again = Histogram::new(words);
            table.drain_into(words, &mut again);
            assert_eq!(again.total(), 0);
        }
    }
}
