//! Known answers: a device that computes something else than the CPU is not used.

use super::GpuError;
use super::device::Gpu;
use crate::measure::{self, BLOCK_LEN, Words};

/// Two blocks at a chunk counter that needs both words, with every class of float and some noise.
const OFFSET: u64 = (1 << 42) - BLOCK_LEN as u64;

/// Compares every kernel with its CPU twin.
pub(super) fn run(gpu: &Gpu) -> Result<(), GpuError> {
    let bytes = sample(2 * BLOCK_LEN);
    for words in [Words::Bits8, Words::Bits16, Words::F32, Words::F64] {
        let expected = measure::measure_tile(&bytes, OFFSET, Some(words));
        let measured = gpu.measure_tile(&bytes, OFFSET, Some(words))?;
        for (kernel, equal) in [
            ("digest", measured.blocks == expected.blocks),
            ("histogram", measured.histogram == expected.histogram),
            ("summary", measured.summary == expected.summary),
        ] {
            if !equal {
                let name = gpu.description().name.clone();
                return Err(GpuError::SelfTest { name, kernel });
            }
        }
    }
    Ok(())
}

fn sample(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(b"known answer").finalize_xof().fill(&mut bytes);
    let edges: [u32; 10] = [
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
    ];
    for (word, edge) in
        bytes.as_chunks_mut::<4>().0.iter_mut().step_by(97).zip(edges.iter().cycle())
    {
        *word = edge.to_le_bytes();
    }
    bytes
}
