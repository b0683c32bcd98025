use super::*;
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};
use shake::digest::{ExtendableOutput, Update, XofReader};

const BLOCKS: usize = 10_000;
/// The blocks of `testdata/quantised/make.py`.
fn golden_blocks(dtype: Dtype) -> Vec<u8> {
    let size = dtype.granule().0 as usize;
    let mut shake = shake::Shake256::default();
    shake.update(format!("tensorseal quantised {dtype}").as_bytes());
    let mut blocks = vec![0; BLOCKS * size];
    shake.finalize_xof().read(&mut blocks);
    edge_scales::fill_edge_scales(dtype, &mut blocks);
    blocks
}

fn bits(value: f32) -> u32 {
    if value.is_nan() { 0x7FC0_0000 } else { value.to_bits() }
}

#[test]
fn blocks_decode_like_the_gguf_package() {
    let golden: Value = tensorseal_testing::json("quantised/decoded.json");
    for dtype in Dtype::block_quantised() {
        let (size, elements) = dtype.granule();
        let mut sha = Sha256::new();
        let mut values = vec![0.0; elements as usize];
        for (number, block) in golden_blocks(dtype).chunks(size as usize).enumerate() {
            decode_block(dtype, block, &mut values);
            if let Some(expected) = golden[dtype.name()]["blocks"].get(number.to_string()) {
                let found: Vec<String> =
                    values.iter().take(64).map(|value| format!("{:08x}", bits(*value))).collect();
                assert_eq!(serde_json::to_value(found).unwrap(), *expected, "{dtype} {number}");
            }
            for value in &values {
                Digest::update(&mut sha, bits(*value).to_le_bytes());
            }
        }
        let digest: String = sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(golden[dtype.name()]["sha256"], digest, "{dtype}");
    }
}

#[test]
fn formats_are_consistent() {
    for dtype in Dtype::block_quantised() {
        let format = block_format(dtype).unwrap();
        let (size, elements) = dtype.granule();
        assert!(elements as usize <= MAX_ELEMENTS && size as usize <= MAX_BYTES);
        assert!(UNIT_LEN.is_multiple_of(elements as usize));
        assert!(unit_bytes(dtype) <= HALO_LEN as u64);
        assert!(format.codes.is_power_of_two() && format.codes <= 256);
        assert!((elements as usize).is_multiple_of(format.group) && format.group >= 16);
        let mut codes = [0; MAX_ELEMENTS];
        for block in golden_blocks(dtype).chunks(size as usize) {
            format.read_codes(block, &mut codes);
            assert!(codes.iter().all(|code| usize::from(*code) < format.codes), "{dtype}");
        }
    }
    assert!(block_format(Dtype::F32).is_none());
}

#[test]
fn points_ascend_within_their_grids() {
    use grids::*;
    for (grid, symbols) in
        [(IQ2_XXS..IQ2_XS, 3), (IQ2_XS..IQ2_S, 3), (IQ2_S..IQ3_XXS, 3), (IQ1..LEN, 3)]
    {
        let points = &GRIDS[grid];
        assert!(points.is_sorted_by(|a, b| a < b));
        assert!(points.iter().all(|point| (0..8).all(|i| point >> (2 * i) & 3 < symbols)));
    }
    for grid in [IQ3_XXS..IQ3_S, IQ3_S..IQ1] {
        let points = &GRIDS[grid];
        assert!(points.is_sorted_by(|a, b| a < b));
        assert!(points.iter().all(|point| point & 0x8888 == 0));
    }
}

#[test]
fn binary16_is_widened_like_the_half_crate() {
    for code in 0..=u16::MAX {
        let expected = half::f16::from_bits(code).to_f32();
        let found = half_to_f32(code);
        assert!(found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()));
    }
}

#[test]
fn incomplete_blocks_are_not_decoded() {
    let mut out = [7.0; 40];
    decode_block(Dtype::F32, &[0; 40], &mut out);
    decode_block(Dtype::Q4_0, &[0; 17], &mut out);
    assert_eq!(out, [7.0; 40]);
    decode_block(Dtype::Q4_0, &[0; 18], &mut out);
    assert_eq!(out[31..34], [-0.0, 7.0, 7.0]);
    decode_block(Dtype::Q4_0, &[1; 18], &mut out[..3]);
}

proptest! {
    /// Every block has exactly one owner, however a tensor is cut.
    #[test]
    fn every_block_has_one_owner(
        which in 0usize..26,
        blocks in 0u64..5000,
        extra in 0u64..20,
        mut cuts in prop::collection::vec(0u64..300_000, 0..6),
    ) {
        let dtype = Dtype::block_quantised().nth(which).unwrap();
        let total = blocks * dtype.granule().0 + extra.min(dtype.granule().0 - 1);
        cuts.extend([0, total]);
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(total));
        cuts.sort_unstable();
        let per_unit = UNIT_LEN as u64 / dtype.granule().1;
        let mut next = 0;
        for part in cuts.windows(2) {
            let len = (part[1] - part[0]) as usize;
            let available = len + ((total - part[1]) as usize).min(HALO_LEN);
            let owned = OwnedBlocks::for_range(dtype, part[0], len, available);
            if owned.blocks > 0 {
                prop_assert_eq!(owned.first_unit * per_unit, next);
                prop_assert!(owned.skip < len);
            }
            prop_assert!(owned.skip + owned.blocks * dtype.granule().0 as usize <= available);
            next += owned.blocks as u64;
        }
        prop_assert_eq!(next, blocks);
    }
}
