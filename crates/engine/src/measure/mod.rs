//! Measurements: small exact values of a part that merge associatively into those of the whole.
//!
//! Each measurement has one module here (its value, its merge, its CPU kernel) and one shader of the
//! same name under `shaders/`. Kernels return only integers, so that every engine, thread count and
//! split of the work gives the same bits. Statistics are computed from the merged values.

pub mod chips;
pub mod codes;
pub mod correlation;
pub mod dequantise;
pub mod digest;
pub mod histogram;
pub mod isa;
pub mod low_bits;
pub mod magnitudes;
pub mod pages;
pub mod slots;
pub mod structure;
pub mod summary;
pub mod touched_bins;
pub mod windows;

use chips::ChipKey;
use codes::CodeCounts;
use correlation::{Carrier, Correlation};
use digest::ChainingValue;
use histogram::Histogram;
use structure::{Structure, StructureLayout};
use summary::WordSummary;
use tensorseal_base::dtype::{Dtype, NumberFormat};
use tensorseal_base::quantised::OwnedBlocks;

/// The length of a block in bytes (1024 BLAKE3 chunks). Chaining values are kept for each block.
pub const BLOCK_LEN: usize = 1 << 20;

/// The maximum length of a tile in bytes (32 blocks). Tiles start at multiples of it.
pub const TILE_LEN: usize = 32 << 20;

/// The format of the words into which the bytes of an object are divided for the distribution
/// measurements.
///
/// Shaders receive the discriminants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum WordFormat {
    /// 8-bit elements, and the bytes of sub-byte elements.
    Bits8 = 0,
    /// 16-bit elements.
    Bits16 = 1,
    /// Binary32, and both parts of C64.
    F32 = 2,
    /// Signed 32-bit integers.
    I32 = 3,
    /// Unsigned 32-bit integers.
    U32 = 4,
    /// Binary64.
    F64 = 5,
    /// Signed 64-bit integers.
    I64 = 6,
    /// Unsigned 64-bit integers.
    U64 = 7,
}

impl WordFormat {
    /// All formats.
    pub const ALL: [WordFormat; 8] = [
        WordFormat::Bits8,
        WordFormat::Bits16,
        WordFormat::F32,
        WordFormat::I32,
        WordFormat::U32,
        WordFormat::F64,
        WordFormat::I64,
        WordFormat::U64,
    ];

    /// Returns the word format of a tensor of this type.
    pub fn from_dtype(dtype: Dtype) -> WordFormat {
        match (dtype, dtype.bits(), dtype.number_format()) {
            (Dtype::C64, ..) => WordFormat::F32,
            (_, _, NumberFormat::BlockQuantised) | (_, ..=8, _) => WordFormat::Bits8,
            (_, 16, _) => WordFormat::Bits16,
            (_, 32, NumberFormat::Signed) => WordFormat::I32,
            (_, 32, NumberFormat::Unsigned) => WordFormat::U32,
            (_, 32, _) => WordFormat::F32,
            (_, _, NumberFormat::Signed) => WordFormat::I64,
            (_, _, NumberFormat::Unsigned) => WordFormat::U64,
            _ => WordFormat::F64,
        }
    }

    /// Returns the number of bytes in a word.
    pub fn width(self) -> usize {
        match self {
            WordFormat::Bits8 => 1,
            WordFormat::Bits16 => 2,
            WordFormat::F32 | WordFormat::I32 | WordFormat::U32 => 4,
            WordFormat::F64 | WordFormat::I64 | WordFormat::U64 => 8,
        }
    }

    /// Returns whether a [`WordSummary`] is measured. For narrower words it follows from the histogram.
    pub fn has_summary(self) -> bool {
        self.width() >= 4
    }
}

/// The kernels that run on an object in addition to the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelSet {
    /// How words are counted; `None` if they are not.
    pub words: Option<WordFormat>,
    /// How elements carry chips; `None` if they are not correlated.
    pub carrier: Option<Carrier>,
    /// How the structure is measured; `None` if it is not.
    pub layout: Option<StructureLayout>,
    /// The type whose quantisation blocks are counted; `None` if they are not.
    pub codes: Option<Dtype>,
}

impl KernelSet {
    /// The digest only.
    pub const DIGEST: KernelSet =
        KernelSet { words: None, carrier: None, layout: None, codes: None };

    /// Returns the type whose quantisation blocks are read. A part of an object owns the units that begin in
    /// it, so it is then measured together with its halo, up to [`tensorseal_base::quantised::HALO_LEN`]
    /// bytes that follow it.
    pub fn block_type(&self) -> Option<Dtype> {
        self.codes.or(self.carrier.and_then(|carrier| carrier.blocks))
    }

    /// Returns whether the digest is the only kernel.
    pub fn is_digest_only(&self) -> bool {
        *self == KernelSet::DIGEST
    }
}

impl From<WordFormat> for KernelSet {
    fn from(words: WordFormat) -> Self {
        KernelSet { words: Some(words), ..KernelSet::DIGEST }
    }
}

/// All measurements of one tile, which engines return and which merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileMeasurement {
    /// The non-root chaining values of the blocks, in order.
    pub blocks: Vec<ChainingValue>,
    /// The counts of the words, if requested.
    pub histogram: Option<Histogram>,
    /// The classes, extremes and sums of the words, if requested and [`WordFormat::has_summary`].
    pub summary: Option<WordSummary>,
    /// The correlations of the carrier blocks with every key, if requested.
    pub correlation: Option<Correlation>,
    /// The structure, if requested.
    pub structure: Option<Structure>,
    /// The counts of codes and scale words, if requested.
    pub codes: Option<CodeCounts>,
}

/// Runs the CPU twins of all kernels over a tile, which must be a private copy.
///
/// `offset` is the position of `bytes` in the object, a multiple of [`BLOCK_LEN`]. Carriers are
/// correlated with `keys`. Trailing bytes short of a word are not counted.
pub fn measure_tile(
    bytes: &[u8],
    offset: u64,
    kernels: KernelSet,
    keys: &[ChipKey],
) -> TileMeasurement {
    measure_part(bytes, bytes.len(), offset, kernels, keys)
}

/// Measures a tile like [`measure_tile`]. The tile is the first `len` of `bytes`; its halo, the bytes that
/// follow it in the object, is the rest.
pub fn measure_part(
    all: &[u8],
    len: usize,
    offset: u64,
    kernels: KernelSet,
    keys: &[ChipKey],
) -> TileMeasurement {
    let bytes = &all[..len];
    let words = kernels.words;
    let mut blocks = Vec::new();
    digest::chaining_values(bytes, offset, &mut blocks);
    let histogram = words.map(|words| {
        let mut table = histogram::CounterTable::new();
        table.count(words, bytes);
        let mut counts = Histogram::new(words);
        table.drain_into(words, &mut counts);
        counts
    });
    let summary = words.filter(|words| words.has_summary()).map(|words| {
        let mut summary = WordSummary::new(words);
        summary.add(bytes);
        summary
    });
    let correlation = kernels.carrier.map(|carrier| {
        let mut correlation = Correlation::new(keys.len());
        let owned = owned_bytes(carrier.blocks, all, len, offset);
        correlation.add(&carrier, keys, carrier.block_at(offset), owned);
        correlation
    });
    let codes = kernels.codes.map(|dtype| {
        let mut codes = CodeCounts::new(dtype);
        codes.add(owned_bytes(Some(dtype), all, len, offset));
        codes
    });
    let structure = kernels.layout.map(|layout| {
        let mut structure = Structure::for_range(&layout, offset, bytes.len() as u64);
        for (block, start) in bytes.chunks(BLOCK_LEN).zip((offset..).step_by(BLOCK_LEN)) {
            structure.add(&layout, start, block);
        }
        structure
    });
    TileMeasurement { blocks, histogram, summary, correlation, structure, codes }
}

/// Returns the bytes that a part of `len` bytes at `offset` owns: those bytes themselves, or for a
/// block-quantised type the blocks of the units that begin in the part. `all` is the part and its halo.
pub fn owned_bytes(blocks: Option<Dtype>, all: &[u8], len: usize, offset: u64) -> &[u8] {
    match blocks {
        None => &all[..len],
        Some(dtype) => OwnedBlocks::for_range(dtype, offset, len, all.len()).bytes(dtype, all),
    }
}
