//! One device for the tests of a process, and what they give it to measure.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tensorseal_engine::gpu::{DeviceSelector, Gpu, TileFeed, TileSpec};
use tensorseal_engine::measure::chips::ChipKey;
use tensorseal_engine::measure::isa::Isa;
use tensorseal_engine::measure::{self, BLOCK_LEN, KernelSet, TileMeasurement};

/// One device and one test at a time: several instances in a process hang some drivers.
pub(crate) fn gpu() -> (&'static Gpu, MutexGuard<'static, ()>) {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    let guard = alone();
    let open = || {
        Gpu::open(&DeviceSelector::Any)
            .expect("GPU tests need an adapter: install mesa-vulkan-drivers")
    };
    (GPU.get_or_init(open), guard)
}

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the CPU twins measure of the first `len` bytes, by every instruction set of this processor: all the
/// same.
pub(crate) fn twins(
    all: &[u8],
    len: usize,
    offset: u64,
    wanted: KernelSet,
    keys: &[ChipKey],
) -> TileMeasurement {
    let measured = |isa: Isa| {
        let _forced = isa.force();
        measure::measure_part(all, len, offset, wanted, keys)
    };
    let expected = measured(Isa::PORTABLE);
    for isa in Isa::available() {
        assert!(measured(isa) == expected, "{isa:?} {wanted:?}");
    }
    expected
}

/// Words where classes begin and end, in all positions of a 16-byte unit.
pub(crate) fn edges(len: usize) -> Vec<u8> {
    let words: [u64; 16] = [
        0,
        1,
        1 << 63,
        (1 << 63) | 1,
        0x7FF0_0000_0000_0000,
        0xFFF0_0000_0000_0000,
        0x7FF0_0000_0000_0001,
        0x7FEF_FFFF_FFFF_FFFF,
        0x000F_FFFF_FFFF_FFFF,
        0x0010_0000_0000_0000,
        0x7F80_0000_FF80_0000,
        0x7F80_0001_007F_FFFF,
        0x8080_0000_0080_0000,
        0x3F80_0000_BF80_0000,
        u64::MAX,
        0x7F7F_FFFF_FF7F_FFFF,
    ];
    let mut bytes: Vec<u8> =
        words.iter().cycle().take(len / 8).flat_map(|w| w.to_le_bytes()).collect();
    // An odd stride moves the pattern through the lanes.
    for (i, at) in (0..len - 8).step_by(4 * 1021).enumerate() {
        bytes[at..at + 4].copy_from_slice(&words[i % 16].to_le_bytes()[4..]);
    }
    bytes
}

/// Tiles from memory, by number.
pub(crate) struct Feed<'a> {
    pub bytes: &'a [u8],
    pub next: Mutex<usize>,
    pub tiles: usize,
    pub wanted: KernelSet,
    pub keys: Vec<ChipKey>,
    pub done: Mutex<Vec<(usize, TileMeasurement)>>,
    /// Called before each tile is given out.
    pub before: &'a (dyn Fn(usize) + Sync),
}

impl TileFeed for Feed<'_> {
    type Job = usize;
    type Error = ();

    fn next(&self) -> Option<usize> {
        let mut next = self.next.lock().unwrap();
        (self.before)(*next);
        *next += 1;
        (*next <= self.tiles).then(|| *next - 1)
    }

    fn spec(&self, job: &usize) -> TileSpec {
        {
            let offset = (*job * BLOCK_LEN) as u64;
            TileSpec { offset, len: BLOCK_LEN, halo: 0, kernels: self.wanted }
        }
    }

    fn keys(&self) -> &[ChipKey] {
        &self.keys
    }

    fn read(
        &self,
        job: &usize,
        range: Range<usize>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ()> {
        // Uneven pieces, as a source may hand them over.
        for piece in self.bytes[job * BLOCK_LEN..][range].chunks(100_003) {
            sink(piece);
        }
        Ok(())
    }

    fn done(&self, job: usize, measured: TileMeasurement) {
        self.done.lock().unwrap().push((job, measured));
    }

    fn failed(&self, _job: usize, _error: ()) {
        panic!("the bytes are in memory");
    }
}

/// Whether a wrong shader is tried: every fourth, with `TENSORSEAL_EVERY_MUTATION=1` (in `scripts/test-slow`) all.
pub(crate) fn is_tried(index: usize) -> bool {
    index.is_multiple_of(4) || std::env::var_os("TENSORSEAL_EVERY_MUTATION").is_some()
}
