//! Measurements: small exact values of a part that merge associatively into those of the whole.
//!
//! Each measurement has one file here (its value, its merge, its CPU kernel) and one shader of the
//! same name under `shaders/`. A kernel returns only integers, so that every engine, thread count
//! and split of the work gives the same bits. Statistics are computed later, by whoever judges.

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

/// Length of a block in bytes: the granularity of kept chaining values (1024 BLAKE3 chunks).
pub const BLOCK_LEN: usize = 1 << 20;

/// Tiles start at multiples of this many bytes of an object (32 BLAKE3-aligned blocks).
pub const TILE_LEN: usize = 32 << 20;

/// How the bytes of an object are cut into words for the distribution measurements.
///
/// The discriminants are what the shaders are told.
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
    /// Every way, for tests and tables.
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

    /// The words of a tensor of this type.
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

    /// Bytes a word takes.
    pub fn width(self) -> usize {
        match self {
            WordFormat::Bits8 => 1,
            WordFormat::Bits16 => 2,
            WordFormat::F32 | WordFormat::I32 | WordFormat::U32 => 4,
            WordFormat::F64 | WordFormat::I64 | WordFormat::U64 => 8,
        }
    }

    /// Whether a [`WordSummary`] is measured: narrower words have it in their full histogram already.
    pub fn has_summary(self) -> bool {
        self.width() >= 4
    }
}

/// What is measured of an object besides its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelSet {
    /// How its words are counted; `None`: they are not.
    pub words: Option<WordFormat>,
    /// How its elements carry chips; `None`: they are not correlated.
    pub carrier: Option<Carrier>,
    /// How its structure is measured; `None`: it is not.
    pub layout: Option<StructureLayout>,
    /// The type whose blocks are counted; `None`: they are not.
    pub codes: Option<Dtype>,
}

impl KernelSet {
    /// Digests only.
    pub const DIGEST: KernelSet =
        KernelSet { words: None, carrier: None, layout: None, codes: None };

    /// The type whose blocks are read. A part of an object is then measured with what lies behind it, up
    /// to [`tensorseal_base::quantised::HALO_LEN`] bytes: it owns the units that begin in it.
    pub fn block_type(&self) -> Option<Dtype> {
        self.codes.or(self.carrier.and_then(|carrier| carrier.blocks))
    }

    /// Whether the digest is the only kernel.
    pub fn is_digest_only(&self) -> bool {
        *self == KernelSet::DIGEST
    }
}

impl From<WordFormat> for KernelSet {
    fn from(words: WordFormat) -> Self {
        KernelSet { words: Some(words), ..KernelSet::DIGEST }
    }
}

/// Everything measured of one tile: the value that engines return and that merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileMeasurement {
    /// Non-root chaining values of the tile's blocks, in order.
    pub blocks: Vec<ChainingValue>,
    /// Counts of the tile's words, when asked for.
    pub histogram: Option<Histogram>,
    /// Classes, extremes and sums, when asked for and [`WordFormat::has_summary`].
    pub summary: Option<WordSummary>,
    /// Correlations of the tile's carrier blocks with every key, when asked for.
    pub correlation: Option<Correlation>,
    /// The structure of the tile, when asked for.
    pub structure: Option<Structure>,
    /// What the tile's blocks are made of, when asked for.
    pub codes: Option<CodeCounts>,
}

/// The CPU twin of a whole tile: all kernels over one private copy.
///
/// `offset` is the position of `bytes` in the object, a multiple of [`BLOCK_LEN`]; `keys` are those
/// that carriers are correlated with. Trailing bytes short of a word are not counted.
pub fn measure_tile(
    bytes: &[u8],
    offset: u64,
    wanted: KernelSet,
    keys: &[ChipKey],
) -> TileMeasurement {
    measure_part(bytes, bytes.len(), offset, wanted, keys)
}

/// As [`measure_tile`], of a tile of `len` bytes in front of what lies behind it in its object.
pub fn measure_part(
    all: &[u8],
    len: usize,
    offset: u64,
    wanted: KernelSet,
    keys: &[ChipKey],
) -> TileMeasurement {
    let bytes = &all[..len];
    let words = wanted.words;
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
    let correlation = wanted.carrier.map(|carrier| {
        let mut correlation = Correlation::new(keys.len());
        let owned = owned_bytes(carrier.blocks, all, len, offset);
        correlation.add(&carrier, keys, carrier.block_at(offset), owned);
        correlation
    });
    let codes = wanted.codes.map(|dtype| {
        let mut codes = CodeCounts::new(dtype);
        codes.add(owned_bytes(Some(dtype), all, len, offset));
        codes
    });
    let structure = wanted.layout.map(|layout| {
        let mut structure = Structure::for_range(&layout, offset, bytes.len() as u64);
        for (block, start) in bytes.chunks(BLOCK_LEN).zip((offset..).step_by(BLOCK_LEN)) {
            structure.add(&layout, start, block);
        }
        structure
    });
    TileMeasurement { blocks, histogram, summary, correlation, structure, codes }
}

/// What a part of `len` bytes at `offset` owns of `all`, its bytes and what lies behind them: those bytes
/// themselves, or the blocks of the units that begin in it.
pub fn owned_bytes(blocks: Option<Dtype>, all: &[u8], len: usize, offset: u64) -> &[u8] {
    match blocks {
        None => &all[..len],
        Some(dtype) => OwnedBlocks::for_range(dtype, offset, len, all.len()).bytes(dtype, all),
    }
}
