//! `codes`: counts the codes and scale words of the blocks of a block-quantised tensor.
//!
//! The kernel counts the codes of all elements, the scale words of all blocks, and special blocks.
//! [`tensorseal_base::quantised`] defines the code of each type; for types with a grid it is the index of a
//! magnitude in its alphabet and a sign, not the index of the point, whose order has no meaning. Merging
//! adds. A part of a tensor counts the blocks of the units that begin in it. Shader twin:
//! `shaders/codes.wgsl`.
//!
//! If codes fill whole bytes, bytes are counted and split into codes at the end, so that one addition
//! counts up to eight codes.

use super::WordFormat;
use super::histogram::Histogram;
use super::isa::{self, VectorKernel};
use tensorseal_base::dtype::Dtype;
use tensorseal_base::quantised::{self, BlockFormat, MAX_ELEMENTS, ScaleEncoding};

/// The number of possible codes.
pub const CODES: usize = 256;

/// The counts of special blocks. A block may be counted more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpecialBlockCounts {
    /// The number of all blocks.
    pub blocks: u64,
    /// Blocks whose codes are all the same.
    pub constant: u64,
    /// Blocks whose scale is zero, but whose codes are neither all the same nor all zero in value.
    pub lost: u64,
    /// Blocks of which at least half of the codes are at an end of the range of a quantiser, and which are
    /// not constant. Always 0 for types with fewer than 16 magnitudes.
    pub saturated: u64,
    /// Blocks with a scale word that is NaN, including the reserved codes of E8M0 and E4M3.
    pub nan: u64,
    /// Blocks with an infinite scale word and none that is NaN.
    pub infinite: u64,
}

impl SpecialBlockCounts {
    /// Creates the counts from an array in the order of the shader.
    pub fn from_array(counts: [u64; 6]) -> SpecialBlockCounts {
        let [blocks, constant, lost, saturated, nan, infinite] = counts;
        SpecialBlockCounts { blocks, constant, lost, saturated, nan, infinite }
    }

    fn merge(&mut self, other: &SpecialBlockCounts) {
        self.blocks += other.blocks;
        self.constant += other.constant;
        self.lost += other.lost;
        self.saturated += other.saturated;
        self.nan += other.nan;
        self.infinite += other.infinite;
    }
}

/// The measurement of a block-quantised tensor or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeCounts {
    dtype: Dtype,
    /// The number of elements by code.
    pub elements: [u64; CODES],
    /// The counts of special blocks.
    pub special_blocks: SpecialBlockCounts,
    /// The counts of scale words: see [`CodeCounts::scales`].
    scales: Histogram,
}

/// Returns the format of the scale words of a type.
pub fn scale_words(dtype: Dtype) -> WordFormat {
    match quantised::block_format(dtype).map(|format| (format.scale, format.minimum)) {
        Some((ScaleEncoding::E8M0(_) | ScaleEncoding::E4M3(_), _)) => WordFormat::Bits8,
        Some((_, Some(_))) => WordFormat::F32,
        _ => WordFormat::Bits16,
    }
}

impl CodeCounts {
    /// Creates empty counts for a type.
    pub fn new(dtype: Dtype) -> Self {
        let scales = Histogram::new(scale_words(dtype));
        Self { dtype, elements: [0; CODES], special_blocks: SpecialBlockCounts::default(), scales }
    }

    /// Creates the counts from those that a device returns: codes, special blocks, scale words and minima.
    pub fn from_counts(
        dtype: Dtype,
        elements: &[u32; CODES],
        counts: [u64; 6],
        scales: &[u32],
        minima: &[u32],
    ) -> Self {
        let mut codes = CodeCounts::new(dtype);
        codes.elements = elements.map(u64::from);
        codes.special_blocks = SpecialBlockCounts::from_array(counts);
        codes.scales.add_counts(scales, minima);
        codes
    }

    /// Returns the type of the tensor.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Returns the counts of scale words d ([`Histogram::high`]) and minima dmin ([`Histogram::low`]; empty
    /// for types without), by their 8 or 16 bits. For Q8_K these are the highest 16 bits of the binary32
    /// scale. A block of NVFP4 has four scale words.
    pub fn scales(&self) -> &Histogram {
        &self.scales
    }

    /// Adds another part of the same tensor.
    pub fn merge(&mut self, other: &CodeCounts) {
        for (sum, part) in self.elements.iter_mut().zip(other.elements) {
            *sum += part;
        }
        self.special_blocks.merge(&other.special_blocks);
        self.scales.merge(&other.scales);
    }

    /// Resets all counts to zero, and keeps the memory.
    pub fn clear(&mut self) {
        self.elements = [0; CODES];
        self.special_blocks = SpecialBlockCounts::default();
        self.scales.clear();
    }

    /// CPU kernel: adds whole blocks.
    pub fn add(&mut self, blocks: &[u8]) {
        // The counts of a call have 32 bits.
        const AT_ONCE: usize = 1 << 28;
        let size = self.dtype.granule().0 as usize;
        for blocks in blocks.chunks(AT_ONCE / size * size) {
            isa::vectorised(Counting { codes: self, blocks });
        }
    }
}

/// Counts by table and byte of codes. Neighbouring bytes count into different tables, so that runs of one
/// value do not wait for their own stores.
type Tables = [[u32; CODES]; 4];

/// The arguments of one call of [`CodeCounts::add`].
struct Counting<'a> {
    codes: &'a mut CodeCounts,
    blocks: &'a [u8],
}

impl VectorKernel for Counting<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (codes, blocks) = (self.codes, self.blocks);
        let Some(format) = quantised::block_format(codes.dtype) else { return };
        match codes.dtype {
            Dtype::Q4_0 | Dtype::IQ4_NL => whole::<18, 2, 16, 4>(codes, format, blocks),
            Dtype::Q4_1 => whole::<20, 4, 16, 4>(codes, format, blocks),
            Dtype::Q8_0 => whole::<34, 2, 32, 8>(codes, format, blocks),
            Dtype::Q8_1 => whole::<36, 4, 32, 8>(codes, format, blocks),
            Dtype::Q2_K => whole::<84, 16, 64, 2>(codes, format, blocks),
            Dtype::Q4_K => whole::<144, 16, 128, 4>(codes, format, blocks),
            Dtype::Q8_K => whole::<292, 4, 256, 8>(codes, format, blocks),
            Dtype::IQ4_XS => whole::<136, 8, 128, 4>(codes, format, blocks),
            Dtype::TQ2_0 => whole::<66, 0, 64, 2>(codes, format, blocks),
            Dtype::MXFP4 => whole::<17, 1, 16, 4>(codes, format, blocks),
            Dtype::NVFP4 => whole::<36, 4, 32, 4>(codes, format, blocks),
            Dtype::Q1_0 => whole::<18, 2, 16, 1>(codes, format, blocks),
            Dtype::Q2_0 => whole::<18, 2, 16, 2>(codes, format, blocks),
            _ => any(codes, format, blocks),
        }
    }
}

/// Counts blocks of types whose codes of `BITS` bits fill the bytes `AT..AT + LEN`.
#[inline(always)]
fn whole<const SIZE: usize, const AT: usize, const LEN: usize, const BITS: u32>(
    codes: &mut CodeCounts,
    format: &BlockFormat,
    blocks: &[u8],
) {
    let blocks = blocks.as_chunks::<SIZE>().0;
    let mut tables: Tables = [[0; CODES]; 4];
    let mut scales = ScaleCounter::new(codes, format, blocks.len());
    let (mut constant, mut saturated) = (0, 0);
    let fp4 = matches!(format.scale, ScaleEncoding::E8M0(_) | ScaleEncoding::E4M3(_));
    for block in blocks {
        let bytes: &[u8; LEN] = block[AT..AT + LEN].first_chunk().unwrap_or(&[0; LEN]);
        for four in bytes.as_chunks::<4>().0 {
            tables[0][usize::from(four[0])] += 1;
            tables[1][usize::from(four[1])] += 1;
            tables[2][usize::from(four[2])] += 1;
            tables[3][usize::from(four[3])] += 1;
        }
        let first = u64::from_le_bytes([bytes[0]; 8]);
        let (mut differ, mut ends) = (0, 0);
        for eight in bytes.as_chunks::<8>().0 {
            let word = u64::from_le_bytes(*eight);
            differ |= word ^ first;
            if BITS == 4 {
                ends += if fp4 { largest_nibbles(word) } else { end_nibbles(word) };
            }
        }
        if BITS == 8 {
            ends = bytes.iter().map(|byte| u32::from(byte.wrapping_sub(127) < 3)).sum();
        }
        let same = differ == 0 && repeats::<BITS>(bytes[0]);
        constant += u64::from(same);
        saturated += u64::from(BITS >= 4 && !same && ends as usize * 2 >= LEN * 8 / BITS as usize);
        if scales.count(codes, block) && !same {
            let mut all = [0; MAX_ELEMENTS];
            format.read_codes(block, &mut all);
            codes.special_blocks.lost +=
                u64::from(!is_zero_block(format, &all[..LEN * 8 / BITS as usize]));
        }
    }
    codes.special_blocks.blocks += blocks.len() as u64;
    codes.special_blocks.constant += constant;
    codes.special_blocks.saturated += saturated;
    let mask = (CODES - 1) >> (8 - BITS);
    for byte in 0..CODES {
        let count: u64 = tables.iter().map(|table| u64::from(table[byte])).sum();
        for shift in (0..8).step_by(BITS as usize) {
            codes.elements[byte >> shift & mask] += count;
        }
    }
}

/// Counts blocks of types whose codes are assembled from several parts.
#[inline(always)]
fn any(codes: &mut CodeCounts, format: &BlockFormat, blocks: &[u8]) {
    let (size, elements) = codes.dtype.granule();
    let mut tables: Tables = [[0; CODES]; 4];
    let mut all = [0; MAX_ELEMENTS];
    let blocks = blocks.chunks_exact(size as usize);
    let mut scales = ScaleCounter::new(codes, format, blocks.len());
    let extreme: [bool; CODES] = std::array::from_fn(|code| (format.extreme)(code as u8));
    let watched = extreme.contains(&true);
    for block in blocks {
        format.read_codes(block, &mut all);
        let all = &all[..elements as usize];
        for four in all.as_chunks::<4>().0 {
            tables[0][usize::from(four[0])] += 1;
            tables[1][usize::from(four[1])] += 1;
            tables[2][usize::from(four[2])] += 1;
            tables[3][usize::from(four[3])] += 1;
        }
        let same = all.iter().fold(0, |differ, code| differ | (code ^ all[0])) == 0;
        codes.special_blocks.constant += u64::from(same);
        if watched && !same {
            let ends = all.iter().filter(|code| extreme[usize::from(**code)]).count();
            codes.special_blocks.saturated += u64::from(2 * ends >= all.len());
        }
        let zero = scales.count(codes, block);
        codes.special_blocks.lost += u64::from(zero && !same && !is_zero_block(format, all));
        codes.special_blocks.blocks += 1;
    }
    for table in tables {
        for (sum, count) in codes.elements.iter_mut().zip(table) {
            *sum += u64::from(count);
        }
    }
}

/// Returns whether all codes of a block stand for zero.
fn is_zero_block(format: &BlockFormat, codes: &[u8]) -> bool {
    codes.iter().all(|code| format.values[usize::from(*code)] == 0)
}

/// Returns whether a byte repeats one code of this number of bits.
#[inline(always)]
fn repeats<const BITS: u32>(byte: u8) -> bool {
    byte.rotate_right(BITS) == byte
}

const ONES: u64 = 0x1111_1111_1111_1111;

/// Returns how many of sixteen nibbles are 0 or 15.
#[inline(always)]
fn end_nibbles(word: u64) -> u32 {
    // Each of three bits is set if two neighbouring bits differ.
    let differ = word ^ (word >> 1);
    16 - ((differ | differ >> 1 | differ >> 2) & ONES).count_ones()
}

/// Returns how many of sixteen nibbles are 7 or 15.
#[inline(always)]
fn largest_nibbles(word: u64) -> u32 {
    (word & word >> 1 & word >> 2 & ONES).count_ones()
}

/// Counts the scale words of blocks.
struct ScaleCounter {
    scale: ScaleEncoding,
    minimum: Option<usize>,
    /// Whether each bin must be marked as touched.
    mark: bool,
}

/// For up to this number of blocks each touched bin is marked; for more, all bins are marked.
const TOUCH_LIMIT_BLOCKS: usize = 4096;

impl ScaleCounter {
    #[inline(always)]
    fn new(codes: &mut CodeCounts, format: &BlockFormat, blocks: usize) -> Self {
        if blocks > TOUCH_LIMIT_BLOCKS {
            codes.scales.touch_all();
        }
        Self { scale: format.scale, minimum: format.minimum, mark: blocks <= TOUCH_LIMIT_BLOCKS }
    }

    /// Counts the scale words of a block, and returns whether its scale is zero.
    #[inline(always)]
    fn count(&mut self, codes: &mut CodeCounts, block: &[u8]) -> bool {
        let half = |at: usize| u16::from_le_bytes([block[at], block[at + 1]]);
        let (words, zero, exponent) = match self.scale {
            ScaleEncoding::F16(at) => (half(at), half(at) & 0x7FFF == 0, 0x7C00),
            ScaleEncoding::Nibbles(at) => {
                let word = quantised::nibbles(block, at);
                (word, word & 0x7FFF == 0, 0x7C00)
            }
            ScaleEncoding::F32(at) => {
                let (low, high) = (half(at), half(at + 2));
                // A NaN may differ from an infinity in the lower half only.
                let nan = high & 0x7FFF == 0x7F80 && low != 0;
                codes.scales.count(high, self.mark);
                codes.special_blocks.nan += u64::from(nan || high & 0x7FFF > 0x7F80);
                codes.special_blocks.infinite += u64::from(high & 0x7FFF == 0x7F80 && !nan);
                return high & 0x7FFF == 0 && low == 0;
            }
            ScaleEncoding::E8M0(at) => {
                codes.scales.count(block[at].into(), self.mark);
                codes.special_blocks.nan += u64::from(block[at] == 0xFF);
                return false;
            }
            ScaleEncoding::E4M3(at) => {
                let (mut zero, mut nan) = (true, false);
                for byte in &block[at..at + 4] {
                    codes.scales.count((*byte).into(), self.mark);
                    nan |= byte & 0x7F == 0x7F;
                    zero &= byte & 0x7F == 0 || *byte == 0x7F;
                }
                codes.special_blocks.nan += u64::from(nan);
                return zero;
            }
        };
        codes.scales.count(words, self.mark);
        let (mut nan, mut infinite) = (words & 0x7FFF > exponent, words & 0x7FFF == exponent);
        if let Some(at) = self.minimum {
            let minimum = half(at);
            codes.scales.count_low(minimum, self.mark);
            nan |= minimum & 0x7FFF > exponent;
            infinite |= minimum & 0x7FFF == exponent;
        }
        codes.special_blocks.nan += u64::from(nan);
        codes.special_blocks.infinite += u64::from(infinite && !nan);
        zero
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tensorseal_base::quantised::GroupFactors;

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    /// Noise in which some blocks are constant, some are saturated, and some scales are zero.
    fn odd(dtype: Dtype, seed: u64, blocks: usize) -> Vec<u8> {
        let size = dtype.granule().0 as usize;
        let mut bytes = noise(seed, size * blocks);
        let choices = noise(!seed, blocks);
        for (block, choice) in bytes.chunks_mut(size).zip(choices) {
            match choice % 6 {
                0 => block.fill([0, 0xFF, 0x77, 0x55, 0x80][usize::from(choice) % 5]),
                1 => block.iter_mut().for_each(|byte| *byte = if *byte > 99 { 0xF0 } else { 0x0F }),
                2 => block.iter_mut().for_each(|byte| *byte = 0x7F + *byte % 4),
                3 => {
                    block[size - 4..].fill(0);
                    block[..4].fill(0);
                }
                _ => {}
            }
        }
        bytes
    }

    fn codes(dtype: Dtype, blocks: &[u8]) -> CodeCounts {
        let mut codes = CodeCounts::new(dtype);
        codes.add(blocks);
        codes
    }

    /// The definition: one element at a time.
    fn by_definition(dtype: Dtype, bytes: &[u8]) -> CodeCounts {
        let format = quantised::block_format(dtype).unwrap();
        let (size, elements) = dtype.granule();
        let mut counted = CodeCounts::new(dtype);
        for block in bytes.chunks_exact(size as usize) {
            let mut all = [0; MAX_ELEMENTS];
            format.read_codes(block, &mut all);
            let all = &all[..elements as usize];
            all.iter().for_each(|code| counted.elements[usize::from(*code)] += 1);
            let same = all.iter().all(|code| *code == all[0]);
            let ends = all.iter().filter(|code| (format.extreme)(**code)).count();
            let (d, dmin) = format.read_scales(block);
            let GroupFactors { scale, .. } = format.read_factors(block);
            let bytes4 = matches!(format.scale, ScaleEncoding::E4M3(_)).then(|| &block[..4]);
            let zero = d == 0.0 || bytes4.is_some() && scale[..4] == [0; 4];
            let mut reserved = bytes4.is_some_and(|b| b.iter().any(|b| b & 127 == 127));
            reserved |= matches!(format.scale, ScaleEncoding::E8M0(_)) && block[0] == 255;
            let nan = d.is_nan() || dmin.is_nan() || reserved;
            let counts = &mut counted.special_blocks;
            counts.blocks += 1;
            counts.constant += u64::from(same);
            counts.saturated += u64::from(!same && 2 * ends >= all.len());
            counts.lost += u64::from(zero && !same && !is_zero_block(format, all));
            counts.nan += u64::from(nan);
            counts.infinite += u64::from(!nan && (d.is_infinite() || dmin.is_infinite()));
            match format.scale {
                ScaleEncoding::F16(at) => {
                    counted.scales.count(u16::from_le_bytes([block[at], block[at + 1]]), true)
                }
                ScaleEncoding::Nibbles(at) => {
                    counted.scales.count(quantised::nibbles(block, at), true)
                }
                ScaleEncoding::F32(at) => {
                    counted.scales.count(u16::from_le_bytes([block[at + 2], block[at + 3]]), true)
                }
                ScaleEncoding::E8M0(at) => counted.scales.count(block[at].into(), true),
                ScaleEncoding::E4M3(_) => {
                    block[..4].iter().for_each(|b| counted.scales.count((*b).into(), true));
                }
            }
            if let Some(at) = format.minimum {
                counted.scales.count_low(u16::from_le_bytes([block[at], block[at + 1]]), true);
            }
        }
        counted
    }

    #[test]
    fn counts_are_the_definition() {
        for dtype in Dtype::block_quantised() {
            for blocks in [0, 1, 700, 5000] {
                let bytes = odd(dtype, 7, blocks);
                let counted = codes(dtype, &bytes);
                assert_eq!(counted, by_definition(dtype, &bytes), "{dtype}");
                let (_, elements) = dtype.granule();
                assert_eq!(counted.elements.iter().sum::<u64>(), blocks as u64 * elements);
            }
            let seen = codes(dtype, &odd(dtype, 7, 5000)).special_blocks;
            assert!(seen.constant > 0, "{dtype}");
            let watched = (0..=255).any(quantised::block_format(dtype).unwrap().extreme);
            assert_eq!(seen.saturated > 0, watched, "{dtype}");
            assert!(seen.lost > 0 || matches!(dtype, Dtype::MXFP4 | Dtype::IQ1_M), "{dtype}");
        }
    }

    #[test]
    fn zeros_of_a_quantiser_are_not_lost() {
        for dtype in Dtype::block_quantised() {
            let counts = codes(dtype, &vec![0; 20 * dtype.granule().0 as usize]).special_blocks;
            assert_eq!((counts.lost, counts.saturated, counts.nan), (0, 0, 0), "{dtype}");
        }
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(
            which in 0usize..quantised::TYPE_COUNT,
            seed: u64,
            cuts in prop::collection::vec(0usize..90_000, 0..4),
        ) {
            use tensorseal_base::quantised::{HALO_LEN, OwnedBlocks};
            let dtype = Dtype::block_quantised().nth(which).unwrap();
            let bytes = odd(dtype, seed, 300);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut sum = CodeCounts::new(dtype);
            for part in cuts.windows(2) {
                let (len, end) = (part[1] - part[0], (part[1] + HALO_LEN).min(bytes.len()));
                let (offset, part) = (part[0] as u64, &bytes[part[0]..end]);
                let owned = OwnedBlocks::for_range(dtype, offset, len, part.len());
                sum.merge(&codes(dtype, owned.bytes(dtype, part)));
            }
            prop_assert_eq!(&sum, &codes(dtype, &bytes));
            sum.clear();
            prop_assert_eq!(sum, CodeCounts::new(dtype));
        }
    }

    #[test]
    fn ends_of_the_range_are_distinguished() {
        assert_eq!(end_nibbles(0x0F10_8E7F_F00F_1234), 8);
        assert_eq!(largest_nibbles(0x7F10_8E7F_0000_1237), 5);
    }
}
