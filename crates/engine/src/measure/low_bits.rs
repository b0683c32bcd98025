//! `low_bits`: statistics of the streams that the lowest bits of consecutive elements form.
//!
//! Data hidden in weights is usually written into the lowest bits of consecutive elements. Stream k
//! takes the lowest k bits of each element, the first element in the lowest bits of the first byte
//! (reversing the order within bytes only permutes byte values, which no statistic here depends on). The
//! kernel counts the bytes of the streams and, for each 1 MiB of the tensor, ones and pairs of equal bits
//! one and eight places apart within aligned words of 64 bits. Elements after the last whole group of 64
//! are not counted. Shader twin: `shaders/low_bits.wgsl`.

use super::BLOCK_LEN;
use super::correlation::ElementFormat;
use super::isa::{self, VectorKernel};

/// The number of bits of an element that each stream takes.
pub const WIDTHS: [usize; 5] = [1, 2, 4, 7, 8];

/// The number of streams whose bytes are counted: all but the last, whose byte counts follow from the
/// histogram.
pub const COUNTED: usize = 4;

/// The number of elements in a group, which gives `k` words of 64 bits of stream k.
pub const GROUP_LEN: usize = 64;

/// The counts of the bits of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BitCounts {
    /// The number of ones.
    pub ones: u32,
    /// The number of bits that equal the next one; a word has 63 such pairs.
    pub lag1: u32,
    /// The number of bits that equal the one eight places later; a word has 56 such pairs.
    pub lag8: u32,
}

impl BitCounts {
    fn merge(&mut self, other: &BitCounts) {
        self.ones += other.ones;
        self.lag1 += other.lag1;
        self.lag8 += other.lag8;
    }
}

/// The counts of the bits of each stream in one block of 1 MiB.
pub type BlockBits = [BitCounts; WIDTHS.len()];

/// The streams of a tensor or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowBits {
    /// How often each byte value occurs, by stream.
    pub bytes: Box<[[u64; 256]; COUNTED]>,
    /// The number of the first block in the tensor.
    pub first: u64,
    /// The counts of bits of each block.
    pub blocks: Vec<BlockBits>,
}

/// Returns whether elements of this format have streams, which is the case for 16 and 32 bits.
pub fn has_streams(elements: &ElementFormat) -> bool {
    elements.width >= 2
}

/// The number of groups whose streams are computed at once.
const BATCH: usize = 16;

impl LowBits {
    /// Creates empty counts for the bytes `start..start + len` of a tensor. `start` is a multiple of
    /// [`BLOCK_LEN`].
    pub fn for_range(start: u64, len: u64) -> LowBits {
        let block = BLOCK_LEN as u64;
        let blocks = vec![BlockBits::default(); len.div_ceil(block) as usize];
        LowBits { bytes: Box::new([[0; 256]; COUNTED]), first: start / block, blocks }
    }

    /// Adds the measurement of a part of this range.
    pub fn merge(&mut self, part: &LowBits) {
        for (counts, more) in self.bytes.iter_mut().zip(part.bytes.iter()) {
            for (count, more) in counts.iter_mut().zip(more) {
                *count += more;
            }
        }
        let at = (part.first - self.first) as usize;
        for (bits, more) in self.blocks[at..].iter_mut().zip(&part.blocks) {
            for (bits, more) in bits.iter_mut().zip(more) {
                bits.merge(more);
            }
        }
    }

    /// CPU kernel: counts the elements of `bytes`, which begin `start` bytes into the tensor and lie in one
    /// block. `start` is a whole number of groups.
    pub fn add(&mut self, elements: &ElementFormat, start: u64, bytes: &[u8]) {
        let at = (start / BLOCK_LEN as u64 - self.first) as usize;
        let Some(block) = self.blocks.get_mut(at) else { return };
        let group = GROUP_LEN * elements.width;
        let whole = &bytes[..bytes.len() - bytes.len() % group];
        let mut tables = Tables::default();
        for bytes in whole.chunks(BATCH * group) {
            isa::vectorised(Batch { elements, bytes, tables: &mut tables, block });
        }
        for (counts, tables) in self.bytes.iter_mut().zip(&tables.0) {
            for (byte, count) in counts.iter_mut().enumerate() {
                *count += tables.iter().map(|table| u64::from(table[byte])).sum::<u64>();
            }
        }
    }
}

/// A batch of groups of elements.
struct Batch<'a> {
    elements: &'a ElementFormat,
    bytes: &'a [u8],
    tables: &'a mut Tables,
    block: &'a mut BlockBits,
}

impl VectorKernel for Batch<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        match self.elements.width {
            2 => add::<2>(self.bytes, self.tables, self.block),
            _ => add::<4>(self.bytes, self.tables, self.block),
        }
    }
}

/// Four tables for each stream, so that a byte that repeats the last one does not wait for its store.
struct Tables([[[u32; 256]; 4]; COUNTED]);

impl Default for Tables {
    fn default() -> Self {
        Tables([[[0; 256]; 4]; COUNTED])
    }
}

/// The number of low bytes in a batch, which are its stream of 8 bits.
const BATCH_LEN: usize = BATCH * GROUP_LEN;

/// Computes each stream from a wider one, in loops over bytes that vectorise.
#[inline(always)]
fn add<const WIDTH: usize>(bytes: &[u8], tables: &mut Tables, bits: &mut BlockBits) {
    let [one, two, four, seven] = &mut tables.0;
    let mut made = [0u8; BATCH_LEN];
    let elements = bytes.len() / WIDTH;
    for (low, element) in made.iter_mut().zip(bytes.as_chunks::<WIDTH>().0) {
        *low = element[0];
    }
    count_bits(&made[..elements], &mut bits[4]);

    let mut sevens = [0u8; BATCH_LEN];
    for (index, eight) in made[..elements].as_chunks::<8>().0.iter().enumerate() {
        // The word written for eight elements overlaps the place of the next ones.
        let word = seven_bits(u64::from_le_bytes(*eight)).to_le_bytes();
        sevens[7 * index..7 * index + 8].copy_from_slice(&word);
    }
    let stream = &sevens[..elements / 8 * 7];
    count_bits(stream, &mut bits[3]);
    count_bytes(stream, seven);

    let fours: &mut [u8] = &mut [0; BATCH_LEN / 2][..elements / 2];
    halve(&made[..elements], fours);
    count_bits(fours, &mut bits[2]);
    count_bytes(fours, four);

    // Joins two bits of each nibble, and then one bit of each pair.
    let twos: &mut [u8] = &mut [0; BATCH_LEN / 4][..elements / 4];
    fours.iter_mut().for_each(|byte| *byte = *byte & 3 | *byte >> 2 & 12);
    halve(fours, twos);
    count_bits(twos, &mut bits[1]);
    count_bytes(twos, two);

    let ones: &mut [u8] = &mut [0; BATCH_LEN / 8][..elements / 8];
    twos.iter_mut().for_each(|byte| {
        let pairs = *byte & 0x11 | *byte >> 1 & 0x22;
        *byte = pairs & 3 | pairs >> 2 & 12;
    });
    halve(twos, ones);
    count_bits(ones, &mut bits[0]);
    count_bytes(ones, one);
}

/// Joins the low nibbles of two bytes, the first one lowest.
#[inline(always)]
fn halve(from: &[u8], to: &mut [u8]) {
    for (byte, pair) in to.iter_mut().zip(from.as_chunks::<2>().0) {
        *byte = pair[0] & 15 | pair[1] << 4;
    }
}

/// Joins the lowest seven bits of eight bytes.
#[inline(always)]
fn seven_bits(bytes: u64) -> u64 {
    let bytes = bytes & 0x7F7F_7F7F_7F7F_7F7F;
    let pairs = bytes & 0x007F_007F_007F_007F | (bytes & 0x7F00_7F00_7F00_7F00) >> 1;
    let fours = pairs & 0x0000_3FFF_0000_3FFF | (pairs & 0x3FFF_0000_3FFF_0000) >> 2;
    fours & 0x0FFF_FFFF | (fours & 0x0FFF_FFFF_0000_0000) >> 4
}

/// Counts the bits of a stream of whole words.
#[inline(always)]
fn count_bits(stream: &[u8], bits: &mut BitCounts) {
    let (mut ones, mut lag1, mut lag8) = (0, 0, 0);
    for word in stream.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*word);
        ones += word.count_ones();
        lag1 += (!(word ^ word >> 1) & (u64::MAX >> 1)).count_ones();
        lag8 += (!(word ^ word >> 8) & (u64::MAX >> 8)).count_ones();
    }
    bits.merge(&BitCounts { ones, lag1, lag8 });
}

#[inline(always)]
fn count_bytes(stream: &[u8], [a, b, c, d]: &mut [[u32; 256]; 4]) {
    for four in stream.as_chunks::<4>().0 {
        a[usize::from(four[0])] += 1;
        b[usize::from(four[1])] += 1;
        c[usize::from(four[2])] += 1;
        d[usize::from(four[3])] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tensorseal_base::dtype::Dtype;

    /// The definition, bit by bit.
    fn expected(width: usize, bytes: &[u8]) -> LowBits {
        let mut counted = LowBits::for_range(0, bytes.len() as u64);
        let elements: Vec<u8> = bytes.chunks_exact(width).map(|element| element[0]).collect();
        for (block, part) in elements.chunks(BLOCK_LEN / width).enumerate() {
            for group in part.chunks_exact(GROUP_LEN) {
                for (stream, k) in WIDTHS.into_iter().enumerate() {
                    let bits: Vec<u8> = group
                        .iter()
                        .flat_map(|element| (0..k).map(move |bit| element >> bit & 1))
                        .collect();
                    let counts = &mut counted.blocks[block][stream];
                    for word in bits.chunks(64) {
                        counts.ones += word.iter().map(|bit| u32::from(*bit)).sum::<u32>();
                        counts.lag1 += word.windows(2).filter(|w| w[0] == w[1]).count() as u32;
                        counts.lag8 += word.windows(9).filter(|w| w[0] == w[8]).count() as u32;
                    }
                    if stream < COUNTED {
                        for byte in bits.chunks(8) {
                            let byte = byte.iter().rev().fold(0, |all, bit| all << 1 | bit);
                            counted.bytes[stream][usize::from(byte)] += 1;
                        }
                    }
                }
            }
        }
        counted
    }

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn added(dtype: Dtype, bytes: &[u8], pieces: usize) -> LowBits {
        let elements = ElementFormat::from_dtype(dtype).unwrap();
        let mut counted = LowBits::for_range(0, bytes.len() as u64);
        for (index, piece) in bytes.chunks(pieces).enumerate() {
            counted.add(&elements, (index * pieces) as u64, piece);
        }
        counted
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn counts_are_the_definition(seed in any::<u64>(), len in 0usize..30_000, and in any::<u8>()) {
            let mut bytes = noise(seed, len);
            bytes.iter_mut().for_each(|byte| *byte &= and);
            for dtype in [Dtype::BF16, Dtype::F16, Dtype::F32] {
                let width = dtype.bits() as usize / 8;
                prop_assert_eq!(added(dtype, &bytes, 1 << 10), expected(width, &bytes));
            }
        }
    }

    #[test]
    fn blocks_are_kept_apart_and_parts_merge() {
        let bytes = noise(7, 2 * BLOCK_LEN + 1000);
        let elements = ElementFormat::from_dtype(Dtype::BF16).unwrap();
        let whole = added(Dtype::BF16, &bytes, BLOCK_LEN / 8);
        assert_eq!(whole, expected(2, &bytes));
        let mut sum = LowBits::for_range(0, bytes.len() as u64);
        let mut tail = LowBits::for_range(BLOCK_LEN as u64, bytes.len() as u64 - BLOCK_LEN as u64);
        for (index, block) in bytes.chunks(BLOCK_LEN).enumerate().skip(1) {
            tail.add(&elements, (index * BLOCK_LEN) as u64, block);
        }
        sum.merge(&tail);
        sum.add(&elements, 0, &bytes[..BLOCK_LEN]);
        assert_eq!(sum, whole);
    }
}
