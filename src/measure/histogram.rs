//! `histogram`: exact counts of the words of a tensor.
//!
//! 8-bit words have 256 bins, 16-bit words 65,536. Wider words have two tables of 65,536 bins, one
//! of their highest and one of their lowest 16 bits. For 8- and 16-bit types the counts are the
//! exact sufficient statistic of everything that ignores order. Shader twin:
//! `shaders/histogram.wgsl`.

use super::Words;

/// Bins of a table of 16-bit values.
pub const BINS: usize = 1 << 16;

/// The counts of a tensor or a part of it. Merging adds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// Counts by the whole word (8 and 16 bits) or its highest 16 bits; 256 or 65,536 bins.
    pub high: Vec<u64>,
    /// Counts by the lowest 16 bits of wider words; empty for 8 and 16 bits.
    pub low: Vec<u64>,
}

impl Histogram {
    /// No counts yet.
    pub fn new(words: Words) -> Self {
        let (high, low) = bins(words);
        Self { high: vec![0; high], low: vec![0; low] }
    }

    /// Adds the counts of another part of the same tensor.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.high, &other.high);
        add(&mut self.low, &other.low);
    }

    /// Adds the 32-bit counts of a tile, as a device returns them.
    pub fn add_counts(&mut self, high: &[u32], low: &[u32]) {
        add_narrow(&mut self.high, high);
        add_narrow(&mut self.low, low);
    }

    /// The number of words counted.
    pub fn total(&self) -> u64 {
        self.high.iter().sum()
    }

    /// Sets all counts to zero, keeping the tables.
    pub fn clear(&mut self) {
        self.high.fill(0);
        self.low.fill(0);
    }
}

/// Bins of the high and of the low table.
pub fn bins(words: Words) -> (usize, usize) {
    match words.width() {
        1 => (256, 0),
        2 => (BINS, 0),
        _ => (BINS, BINS),
    }
}

fn add(sum: &mut [u64], part: &[u64]) {
    for (sum, part) in sum.iter_mut().zip(part) {
        *sum += part;
    }
}

fn add_narrow(sum: &mut [u64], part: &[u32]) {
    for (sum, part) in sum.iter_mut().zip(part) {
        *sum += u64::from(*part);
    }
}

/// Bytes looked at together: a cache line.
const LINE: usize = 64;

/// The eight bytes that a line repeats, if it does.
#[inline(always)]
fn repeated(line: &[u8; LINE]) -> Option<u64> {
    let words = line.as_chunks::<8>().0;
    let first = u64::from_le_bytes(words[0]);
    let differs = words.iter().fold(0, |bits, word| bits | (u64::from_le_bytes(*word) ^ first));
    (differs == 0).then_some(first)
}

/// The working tables of one CPU thread: 32-bit counts, drained before they can overflow.
pub struct Table {
    high: Box<[u32; BINS]>,
    /// Second copy of `high` for every other word, so that runs of one value do not wait for their
    /// own store; for wide words, the table of low halves.
    other: Box<[u32; BINS]>,
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    /// An empty table of 2 × 65,536 counts.
    pub fn new() -> Self {
        let zeros = || vec![0u32; BINS].into_boxed_slice().try_into().expect("BINS counts");
        Self { high: zeros(), other: zeros() }
    }

    /// CPU kernel: counts the words of `bytes`. At most 2^32 − 1 words may be counted between two
    /// calls of [`Table::drain_into`].
    pub fn count(&mut self, words: Words, bytes: &[u8]) {
        let (lines, rest) = bytes.as_chunks::<LINE>();
        let count = match words.width() {
            1 => Self::count8,
            2 => Self::count16,
            4 => Self::count32,
            _ => Self::count64,
        };
        for line in lines {
            // Zeroed and constant stretches would otherwise wait for their own stores.
            match repeated(line) {
                Some(first) => count(self, &first.to_le_bytes(), (LINE / 8) as u32),
                None => count(self, line, 1),
            }
        }
        count(self, rest, 1);
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
    pub fn drain_into(&mut self, words: Words, sum: &mut Histogram) {
        let (high, low) = bins(words);
        let wide = low != 0;
        sum.add_counts(&self.high[..high], if wide { &self.other[..] } else { &[] });
        if !wide {
            add_narrow(&mut sum.high, &self.other[..high]);
        }
        self.high[..high].fill(0);
        self.other[..high].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(words: Words, bytes: &[u8]) -> Histogram {
        let mut table = Table::new();
        let mut sum = Histogram::new(words);
        table.count(words, bytes);
        table.drain_into(words, &mut sum);
        sum
    }

    /// One word at a time, written as plainly as the definition.
    fn by_definition(words: Words, bytes: &[u8]) -> Histogram {
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
            // Noise, and a run of one value somewhere in it.
            let end = bytes.len().min(run + 160);
            bytes[run.min(end)..end].fill(byte);
            for words in Words::ALL {
                prop_assert_eq!(histogram(words, &bytes), by_definition(words, &bytes));
            }
        }

        #[test]
        fn parts_merge_to_the_whole(bytes in prop::collection::vec(any::<u8>(), 64), cut in 0usize..8) {
            for words in Words::ALL {
                let (a, b) = bytes.split_at(cut * 8);
                let mut sum = histogram(words, a);
                sum.merge(&histogram(words, b));
                prop_assert_eq!(sum, histogram(words, &bytes));
            }
        }
    }

    #[test]
    fn a_drained_table_is_empty() {
        let mut table = Table::new();
        for words in Words::ALL {
            table.count(words, &[0xA5; 64]);
            table.drain_into(words, &mut Histogram::new(words));
            let mut again = Histogram::new(words);
            table.drain_into(words, &mut again);
            assert_eq!(again.total(), 0);
        }
    }
}
