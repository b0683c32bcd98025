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
pub mod marks;
pub mod pages;
pub mod slots;
pub mod structure;
pub mod summary;
pub mod windows;

use chips::ChipKey;
use codes::Codes;
use correlation::{Carrier, Correlation};
use digest::ChainingValue;
use histogram::Histogram;
use structure::{Layout, Structure};
use summary::Summary;
use tensorseal_base::dtype::{Dtype, Number};
use tensorseal_base::quantised::Owned;

/// Length of a block in bytes: the granularity of kept chaining values (1024 BLAKE3 chunks).
pub const BLOCK_LEN: usize = 1 << 20;

/// Tiles start at multiples of this many bytes of an object (32 BLAKE3-aligned blocks).
pub const TILE_LEN: usize = 32 << 20;

/// How the bytes of an object are cut into words for the distribution measurements.
///
/// The discriminants are what the shaders are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Words {
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

impl Words {
    /// Every way, for tests and tables.
    pub const ALL: [Words; 8] = [
        Words::Bits8,
        Words::Bits16,
        Words::F32,
        Words::I32,
        Words::U32,
        Words::F64,
        Words::I64,
        Words::U64,
    ];

    /// The words of a tensor of this type.
    pub fn of(dtype: Dtype) -> Words {
        match (dtype, dtype.bits(), dtype.number()) {
            (Dtype::C64, ..) => Words::F32,
            (_, _, Number::Blocks) | (_, ..=8, _) => Words::Bits8,
            (_, 16, _) => Words::Bits16,
            (_, 32, Number::Signed) => Words::I32,
            (_, 32, Number::Unsigned) => Words::U32,
            (_, 32, _) => Words::F32,
            (_, _, Number::Signed) => Words::I64,
            (_, _, Number::Unsigned) => Words::U64,
            _ => Words::F64,
        }
    }

    /// Bytes a word takes.
    pub fn width(self) -> usize {
        match self {
            Words::Bits8 => 1,
            Words::Bits16 => 2,
            Words::F32 | Words::I32 | Words::U32 => 4,
            Words::F64 | Words::I64 | Words::U64 => 8,
        }
    }

    /// Whether a [`Summary`] is measured: narrower words have it in their full histogram already.
    pub fn has_summary(self) -> bool {
        self.width() >= 4
    }
}

/// What is measured of an object besides its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// How its words are counted; `None`: they are not.
    pub words: Option<Words>,
    /// How its elements carry chips; `None`: they are not correlated.
    pub carrier: Option<Carrier>,
    /// How its structure is measured; `None`: it is not.
    pub layout: Option<Layout>,
    /// The type whose blocks are counted; `None`: they are not.
    pub codes: Option<Dtype>,
}

impl Wanted {
    /// Digests only.
    pub const DIGEST: Wanted = Wanted { words: None, carrier: None, layout: None, codes: None };

    /// The type whose blocks are read. A part of an object is then measured with what lies behind it, up
    /// to [`tensorseal_base::quantised::HALO_LEN`] bytes: it owns the units that begin in it.
    pub fn blocks(&self) -> Option<Dtype> {
        self.codes.or(self.carrier.and_then(|carrier| carrier.blocks))
    }

    /// Whether the digest is the only kernel.
    pub fn only_digest(&self) -> bool {
        *self == Wanted::DIGEST
    }
}

impl From<Words> for Wanted {
    fn from(words: Words) -> Self {
        Wanted { words: Some(words), ..Wanted::DIGEST }
    }
}

/// Everything measured of one tile: the value that engines return and that merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileMeasurement {
    /// Non-root chaining values of the tile's blocks, in order.
    pub blocks: Vec<ChainingValue>,
    /// Counts of the tile's words, when asked for.
    pub histogram: Option<Histogram>,
    /// Classes, extremes and sums, when asked for and [`Words::has_summary`].
    pub summary: Option<Summary>,
    /// Correlations of the tile's carrier blocks with every key, when asked for.
    pub correlation: Option<Correlation>,
    /// The structure of the tile, when asked for.
    pub structure: Option<Structure>,
    /// What the tile's blocks are made of, when asked for.
    pub codes: Option<Codes>,
}

/// The CPU twin of a whole tile: all kernels over one private copy.
///
/// `offset` is the position of `bytes` in the object, a multiple of [`BLOCK_LEN`]; `keys` are those
/// that carriers are correlated with. Trailing bytes short of a word are not counted.
pub fn measure_tile(
    bytes: &[u8],
    offset: u64,
    wanted: Wanted,
    keys: &[ChipKey],
) -> TileMeasurement {
    measure_part(bytes, bytes.len(), offset, wanted, keys)
}

/// As [`measure_tile`], of a tile of `len` bytes in front of what lies behind it in its object.
pub fn measure_part(
    all: &[u8],
    len: usize,
    offset: u64,
    wanted: Wanted,
    keys: &[ChipKey],
) -> TileMeasurement {
    let bytes = &all[..len];
    let words = wanted.words;
    let mut blocks = Vec::new();
    digest::chaining_values(bytes, offset, &mut blocks);
    let histogram = words.map(|words| {
        let mut table = histogram::Table::new();
        table.count(words, bytes);
        let mut counts = Histogram::new(words);
        table.drain_into(words, &mut counts);
        counts
    });
    let summary = words.filter(|words| words.has_summary()).map(|words| {
        let mut summary = Summary::new(words);
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
        let mut codes = Codes::new(dtype);
        codes.add(owned_bytes(Some(dtype), all, len, offset));
        codes
    });
    let structure = wanted.layout.map(|layout| {
        let mut structure = Structure::touched(&layout, offset, bytes.len() as u64);
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
        Some(dtype) => Owned::of(dtype, offset, len, all.len()).bytes(dtype, all),
    }
}
