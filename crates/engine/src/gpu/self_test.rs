//! The known-answer tests of a device: one that gives other results than the CPU is not used.

use super::description::DeviceSelector;
use super::device::Gpu;
use super::error::GpuError;
use super::pipelines::KERNELS;
use crate::measure::chips::ChipKey;
use crate::measure::correlation::{Carrier, ElementFormat};
use crate::measure::dequantise::dequantise;
use crate::measure::structure::{Structure, StructureLayout};
use crate::measure::{self, BLOCK_LEN, KernelSet, TileMeasurement, WordFormat};
use tensorseal_base::dtype::Dtype;
use tensorseal_base::quantised::{HALO_LEN, edge_scales};

/// An offset whose BLAKE3 chunk counter needs both of its words within the tested tile.
const OFFSET: u64 = (1 << 42) - BLOCK_LEN as u64;

/// An offset at which the numbers of carrier blocks need most of a word.
const CARRIER_OFFSET: u64 = 1 << 40;

/// Types, phases and row lengths, chosen so that rows end anywhere in a page, window and workgroup.
const LAYOUTS: [(Dtype, u32, u32); 4] = [
    (Dtype::F8_E4M3, 4092, 33),
    (Dtype::BF16, 1240, 1000),
    (Dtype::F16, 4, 70_001),
    (Dtype::F32, 64, 100),
];

impl Gpu {
    /// Opens the device that `selector` specifies and runs its known-answer tests. Before it measures
    /// block-quantised tensors, [`Gpu::trust`] must be called for their types.
    ///
    /// # Errors
    /// Returns a [`GpuError`] if the device is not found, does not meet the limits of the kernels, or fails
    /// a test.
    pub fn open(selector: &DeviceSelector) -> Result<Gpu, GpuError> {
        let gpu = Self::with_sources(selector, &KERNELS.map(|kernel| kernel.source()))?;
        every_kernel(&gpu)?;
        Ok(gpu)
    }

    /// Compiles the kernels of these block-quantised types and runs their known-answer tests.
    ///
    /// # Errors
    /// Returns [`GpuError::SelfTest`] if a kernel gives wrong results, and another [`GpuError`] if the device
    /// fails.
    pub fn trust(&self, dtypes: &[Dtype]) -> Result<(), GpuError> {
        dtypes.iter().try_for_each(|dtype| blocks(self, *dtype))
    }
}

/// Compares every kernel with its CPU twin.
fn every_kernel(gpu: &Gpu) -> Result<(), GpuError> {
    let bytes = sample(2 * BLOCK_LEN);
    let keys = [ChipKey([0x5A; 32]), ChipKey([0xC3; 32])];
    let counted = [WordFormat::Bits8, WordFormat::Bits16, WordFormat::F32, WordFormat::F64];
    let carriers = [Dtype::F8_E4M3, Dtype::BF16, Dtype::F32, Dtype::F16];
    let carriers = carriers.into_iter().map(|dtype| KernelSet {
        carrier: Carrier::from_dtype(dtype, [7; 12]),
        ..KernelSet::DIGEST
    });
    let all = counted.into_iter().zip(LAYOUTS).map(|(words, (dtype, phase, columns))| {
        let layout =
            Some(StructureLayout { phase, elements: ElementFormat::from_dtype(dtype), columns });
        (OFFSET, KernelSet { layout, ..words.into() })
    });
    // The counter of chips ends before `OFFSET`, so carriers are tested at another offset.
    for (offset, kernels) in all.chain(carriers.map(|kernels| (CARRIER_OFFSET, kernels))) {
        let expected = measure::measure_tile(&bytes, offset, kernels, &keys);
        let measured = gpu.measure_tile(&bytes, offset, kernels, &keys)?;
        for (kernel, equal) in [
            ("digest", measured.blocks == expected.blocks),
            ("histogram", measured.histogram == expected.histogram),
            ("summary", measured.summary == expected.summary),
            ("correlation", measured.correlation == expected.correlation),
            ("pages", part(&measured, |s| &s.pages) == part(&expected, |s| &s.pages)),
            ("windows", part(&measured, |s| &s.windows) == part(&expected, |s| &s.windows)),
            ("low_bits", part(&measured, |s| &s.low_bits) == part(&expected, |s| &s.low_bits)),
            (
                "magnitudes",
                part(&measured, |s| &s.magnitudes) == part(&expected, |s| &s.magnitudes),
            ),
        ] {
            if !equal {
                let name = gpu.description().name.clone();
                return Err(GpuError::SelfTest { name, kernel });
            }
        }
    }
    Ok(())
}

/// An offset at which no unit begins.
const BLOCKS_OFFSET: u64 = 3 * BLOCK_LEN as u64;

/// Compares the kernels that read blocks with their CPU twins, for one type.
fn blocks(gpu: &Gpu, dtype: Dtype) -> Result<(), GpuError> {
    let fails = |kernel| {
        let name = gpu.description().name.clone();
        Err(GpuError::SelfTest { name, kernel })
    };
    let size = dtype.granule().0 as usize;
    let mut bytes = sample(BLOCK_LEN + HALO_LEN);
    // The remaining bytes are less than a block.
    let count = 400;
    edge_scales::fill_edge_scales(dtype, &mut bytes[..count * size]);
    let mut expected = Vec::new();
    dequantise(dtype, &bytes[..count * size], &mut expected);
    let measured = gpu.dequantise(dtype, &bytes[..count * size])?;
    let expected = expected.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
    if !measured.iter().copied().eq(expected.chain(std::iter::repeat(0)).take(measured.len())) {
        return fails("dequantise");
    }
    let carrier = Carrier::from_dtype(dtype, [7; 12]);
    let kernels = KernelSet { codes: Some(dtype), carrier, ..KernelSet::DIGEST };
    let keys = [ChipKey([0x5A; 32])];
    let expected = measure::measure_part(&bytes, BLOCK_LEN, BLOCKS_OFFSET, kernels, &keys);
    let measured = gpu.measure_part(&bytes, BLOCK_LEN, BLOCKS_OFFSET, kernels, &keys)?;
    if measured.codes != expected.codes {
        return fails("codes");
    }
    if measured.correlation != expected.correlation {
        return fails("correlation");
    }
    Ok(())
}

/// Returns a part of the structure of a tile.
fn part<T>(tile: &TileMeasurement, of: impl Fn(&Structure) -> &T) -> Option<&T> {
    tile.structure.as_ref().map(of)
}

fn sample(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(b"known answer").finalize_xof().fill(&mut bytes);
    let edges: [u32; 13] = [
        0,
        1 << 31,
        1,
        0x807F_FFFF,
        0x0080_0000,
        0x7F80_0000,
        0xFF80_0000,
        0x7FC0_0000,
        0x7FF0_0000,
        0xFFFF_FFFF,
        // Bounds of the classes of windows: 2^-7, 2 and 2^16.
        0x3C00_0000,
        0x4000_0000,
        0x4780_0000,
    ];
    for (word, edge) in
        bytes.as_chunks_mut::<4>().0.iter_mut().step_by(97).zip(edges.iter().cycle())
    {
        *word = edge.to_le_bytes();
    }
    // Pages that repeat one word.
    bytes[3 << 16..4 << 16].fill(0x3C);
    bytes
}
