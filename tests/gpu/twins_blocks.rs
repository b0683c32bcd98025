//! The kernels that read blocks and their CPU twins give the same integers, for every type.

use crate::common::device::{alone, gpu, is_tried, twins};
use crate::common::noise;
use sha2::{Digest, Sha256};
use tensorseal_base::dtype::Dtype;
use tensorseal_base::quantised::{HALO_LEN, edge_scales};
use tensorseal_engine::gpu::pipelines::{CODES, DEQUANTISE, KERNELS};
use tensorseal_engine::gpu::{DeviceSelector, Gpu};
use tensorseal_engine::measure::chips::ChipKey;
use tensorseal_engine::measure::correlation::Carrier;
use tensorseal_engine::measure::dequantise::dequantise;
use tensorseal_engine::measure::{self, BLOCK_LEN, KernelSet};

/// The blocks of `testdata/quantised/make.py`.
fn golden_blocks(dtype: Dtype) -> Vec<u8> {
    use shake::digest::{ExtendableOutput, Update, XofReader};
    let mut shake = shake::Shake256::default();
    shake.update(format!("tensorseal quantised {dtype}").as_bytes());
    let mut blocks = vec![0; 10_000 * dtype.granule().0 as usize];
    shake.finalize_xof().read(&mut blocks);
    edge_scales::fill_edge_scales(dtype, &mut blocks);
    blocks
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word))
}

#[test]
fn a_device_decodes_as_the_gguf_package_does() {
    let (gpu, _alone) = gpu();
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../testdata/quantised/decoded.json")).unwrap();
    for dtype in Dtype::block_quantised() {
        let blocks = golden_blocks(dtype);
        let mut expected = Vec::new();
        dequantise(dtype, &blocks, &mut expected);
        let measured = gpu.dequantise(dtype, &blocks).unwrap();
        let (_, elements) = dtype.granule();
        let (values, rest) = measured.split_at(10_000 * elements as usize);
        for (at, (found, expected)) in values.iter().zip(words(&expected)).enumerate() {
            assert_eq!(*found, expected, "{dtype}, element {at}: {found:08x} {expected:08x}");
        }
        assert!(rest.iter().all(|word| *word == 0), "{dtype}");
        let bytes: Vec<u8> = values.iter().flat_map(|word| word.to_le_bytes()).collect();
        let digest: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(golden[dtype.name()]["sha256"], digest, "{dtype}");
    }
}

/// Blocks among which some are constant, at the ends, or without a scale.
fn odd_blocks(dtype: Dtype, len: usize) -> Vec<u8> {
    let size = dtype.granule().0 as usize;
    let mut bytes = noise(21, len);
    edge_scales::fill_edge_scales(dtype, &mut bytes[..len / size * size]);
    for (i, block) in bytes.chunks_exact_mut(size).enumerate().skip(400) {
        match i % 7 {
            0 => block.fill([0, 0xFF, 0x77][i / 7 % 3]),
            1 => block.iter_mut().for_each(|b| *b = if *b > 99 { 0xF0 } else { 0x0F }),
            2 => block.iter_mut().for_each(|b| *b = 0x7F + *b % 4),
            3 => {
                block[..4].fill(0);
                block[size - 4..].fill(0);
            }
            _ => {}
        }
    }
    bytes
}

fn wanted(dtype: Dtype) -> KernelSet {
    KernelSet {
        codes: Some(dtype),
        carrier: Carrier::from_dtype(dtype, [3; 12]),
        ..KernelSet::DIGEST
    }
}

#[test]
fn codes_and_correlations_agree_with_their_twins() {
    let (gpu, _alone) = gpu();
    let keys = [ChipKey([9; 32]), ChipKey([0xFF; 32])];
    for dtype in Dtype::block_quantised() {
        let all = odd_blocks(dtype, BLOCK_LEN + HALO_LEN);
        // In front of the end of a tensor, which cuts a unit and a block; and far into it.
        for (offset, halo) in [(0, HALO_LEN), (5 * BLOCK_LEN as u64, 61), (1 << 36, HALO_LEN)] {
            let bytes = &all[..BLOCK_LEN + halo];
            let keys = if offset == 0 { &keys[..] } else { &keys[..1] };
            let wanted = wanted(dtype);
            let expected = twins(bytes, BLOCK_LEN, offset, wanted, keys);
            let measured = gpu.measure_part(bytes, BLOCK_LEN, offset, wanted, keys).unwrap();
            assert_eq!(measured.codes, expected.codes, "{dtype} at {offset}");
            assert!(measured.correlation == expected.correlation, "{dtype} at {offset}");
            assert_eq!(
                measured.blocks, expected.blocks,
                "{dtype}: the digest is of the tile alone"
            );
        }
    }
}

/// Values of several parts of what a device holds at once.
#[test]
fn a_tile_of_many_units_is_correlated_in_parts() {
    let (gpu, _alone) = gpu();
    let keys = [ChipKey([9; 32]), ChipKey([1; 32])];
    let bytes = noise(22, 4 * BLOCK_LEN + HALO_LEN);
    let wanted = wanted(Dtype::IQ1_S);
    let expected = measure::measure_part(&bytes, 4 * BLOCK_LEN, 1 << 25, wanted, &keys);
    let measured = gpu.measure_part(&bytes, 4 * BLOCK_LEN, 1 << 25, wanted, &keys).unwrap();
    assert!(measured == expected);
}

/// Changes to a shader that must show.
const MUTATIONS: &[(usize, Dtype, &str, &str)] = &[
    (DEQUANTISE, Dtype::Q4_K, "(beyond | (kept & 1u))", "1u"),
    (DEQUANTISE, Dtype::Q8_K, "(beyond | (kept & 1u))", "beyond"),
    (DEQUANTISE, Dtype::Q4_1, "less64(left, right)", "false"),
    (DEQUANTISE, Dtype::Q8_K, "-149i - exponent", "-1000i"),
    (DEQUANTISE, Dtype::Q6_K, "u32(factor < 0i) ^ ", ""),
    (DEQUANTISE, Dtype::Q4_0, "magnitude == 0u {\n        product", "false {\n        product"),
    (DEQUANTISE, Dtype::Q5_1, "a.sign != sign {", "false {"),
    (DEQUANTISE, Dtype::IQ2_XXS, "i == 7u", "false"),
    (DEQUANTISE, Dtype::IQ1_M, "nibble >> 3u", "0u"),
    (DEQUANTISE, Dtype::NVFP4, "byte == 0x7Fu", "false"),
    (CODES, Dtype::Q4_0, "2u * ends >= ELEMENTS", "2u * ends > ELEMENTS"),
    (CODES, Dtype::Q4_0, "(flags & 1u) == 1u && sounds", "sounds"),
    (CODES, Dtype::Q4_1, "MINIMA_REPLICAS;", "1u;"),
    (CODES, Dtype::Q8_0, "var tables = REPLICAS;", "var tables = REPLICAS - 1u;"),
    (CODES, Dtype::Q5_K, "block < params.blocks", "block + 1u < params.blocks"),
];

#[test]
fn a_wrong_shader_is_seen() {
    let _alone = alone();
    for (index, (kernel, dtype, from, to)) in MUTATIONS.iter().enumerate() {
        let mut sources = KERNELS.map(|kernel| kernel.source());
        assert!(sources[*kernel].contains(from), "{from:?} is not in the shader");
        if !is_tried(index) {
            continue;
        }
        sources[*kernel] = sources[*kernel].replacen(from, to, 1);
        let gpu = Gpu::with_sources(&DeviceSelector::Any, &sources).unwrap();
        let seen = if *kernel == DEQUANTISE {
            let blocks = golden_blocks(*dtype);
            let mut expected = Vec::new();
            dequantise(*dtype, &blocks, &mut expected);
            !gpu.dequantise(*dtype, &blocks).unwrap().into_iter().eq(words(&expected).chain(
                std::iter::repeat_n(
                    0,
                    expected.len().next_multiple_of(2048) / 4 - expected.len() / 4,
                ),
            ))
        } else {
            let bytes = odd_blocks(*dtype, BLOCK_LEN);
            let wanted = KernelSet { codes: Some(*dtype), ..KernelSet::DIGEST };
            let expected = measure::measure_tile(&bytes, 0, wanted, &[]);
            gpu.measure_tile(&bytes, 0, wanted, &[]).unwrap() != expected
        };
        assert!(seen, "{from:?} -> {to:?} goes unseen");
    }
}
