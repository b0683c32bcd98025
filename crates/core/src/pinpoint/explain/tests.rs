use super::super::chunk::Chunk;
use super::super::compress::state_of;
use super::*;
use proptest::prelude::*;
use tensorseal_engine::measure::BLOCK_LEN;
use tensorseal_engine::measure::digest::chaining_value;
use tensorseal_engine::measure::isa::Isa;

const NEVER_STOP: StopCheck<'static> = &|| false;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The value that the `blake3` crate computes for bytes at a position.
fn value(bytes: &[u8], offset: u64, root: bool) -> ChainingValue {
    if root { *blake3::hash(bytes).as_bytes() } else { chaining_value(bytes, offset) }
}

/// The changed bytes of an explanation.
fn bytes_of(explanation: &Explanation) -> Vec<(u64, u8, u8)> {
    explanation.differences.iter().flat_map(ByteDifference::bytes).collect()
}

fn expected(sealed: &[u8], found: &[u8], offset: u64) -> Vec<(u64, u8, u8)> {
    let all = (offset..).zip(sealed.iter().zip(found));
    all.filter(|(_, (a, b))| a != b).map(|(at, (a, b))| (at, *a, *b)).collect()
}

/// Every instruction set finds the same change.
#[test]
fn all_instruction_sets_find_the_bit_in_every_lane() {
    for len in [1024, 1023, 70, 64, 61, 5, 4, 3, 1] {
        let found = noise(len as u64, len);
        for bit in (0..8 * len).step_by(37).chain([8 * len - 1]) {
            let mut sealed = found.clone();
            sealed[bit / 8] ^= 1 << (bit % 8);
            let target = state_of(&value(&sealed, 5 << 10, false));
            for isa in Isa::available() {
                let chunk = Chunk::new(&found, 5, false).with_isa(isa);
                let change = chunk.find_bit_flip(&[], &target);
                assert_eq!(change, Some(vec![(bit / 32, 1 << (bit % 32))]), "{len} {bit} {isa:?}");
            }
        }
        let other = state_of(&[7; 32]);
        for isa in Isa::available() {
            assert_eq!(Chunk::new(&found, 5, false).with_isa(isa).find_bit_flip(&[], &other), None);
        }
    }
}

#[test]
fn empty_and_intact_objects_have_no_bit_flip() {
    for bytes in [&[][..], &[1, 2, 3]] {
        for sealed in [*blake3::hash(bytes).as_bytes(), [1; 32]] {
            let subtree = Subtree { bytes, offset: 0, root: true, sealed };
            assert!(block(&subtree, NEVER_STOP).differences.is_empty());
        }
    }
}

#[test]
fn the_first_and_the_last_bit_of_a_block_are_found() {
    let sealed = noise(1, BLOCK_LEN);
    let offset = 3 * BLOCK_LEN as u64;
    for bit in [0, 8 * BLOCK_LEN - 1] {
        let mut found = sealed.clone();
        found[bit / 8] ^= 1 << (bit % 8);
        let value = value(&sealed, offset, false);
        let subtree = Subtree { bytes: &found, offset, root: false, sealed: value };
        let explanation = block(&subtree, NEVER_STOP);
        assert_eq!(bytes_of(&explanation), expected(&sealed, &found, offset));
        assert_eq!(explanation.searched, SearchScope::Bits);
        // At another position in the object it is a different block.
        let elsewhere = Subtree { offset: 0, bytes: &found[..4096], ..subtree };
        assert!(block(&elsewhere, NEVER_STOP).differences.is_empty());
    }
}

#[test]
fn a_search_that_is_stopped_ends() {
    let bytes = noise(1, BLOCK_LEN);
    let subtree = Subtree { bytes: &bytes, offset: 0, root: true, sealed: [0; 32] };
    assert!(block(&subtree, &|| true).differences.is_empty());
}

/// Changes of one chunk: a name, and the masks of the changed bytes.
fn chunk_changes(len: usize) -> Vec<(&'static str, Vec<(usize, u8)>)> {
    let last = len - 1;
    vec![
        ("a bit", vec![(last / 2, 16)]),
        ("two bits far apart", vec![(0, 1), (last, 128)]),
        ("two bits of a word", vec![(last & !3, 1), (last, 128)]),
        ("a byte", vec![(last, 0xA7)]),
        ("a word", vec![(last & !1, 0x13), (last | 1, 0xFF)]),
    ]
}

#[test]
fn small_changes_of_a_chunk_are_found() {
    for (len, root) in [(66, true), (250, false)] {
        let sealed = noise(len as u64, len);
        for (name, bytes) in chunk_changes(len) {
            let mut found = sealed.clone();
            bytes.iter().filter(|(at, _)| *at < len).for_each(|(at, mask)| found[*at] ^= mask);
            let sealed_value = value(&sealed, 0, root);
            let subtree = Subtree { bytes: &found, offset: 0, root, sealed: sealed_value };
            let explanation = block(&subtree, NEVER_STOP);
            assert_eq!(bytes_of(&explanation), expected(&sealed, &found, 0), "{name} of {len}");
            assert_eq!(explanation.searched, SearchScope::Chunk);
        }
        let mut found = sealed.clone();
        (found[3], found[4], found[5]) = (!found[3], !found[4], !found[5]);
        let sealed = value(&sealed, 0, root);
        let subtree = Subtree { bytes: &found, offset: 0, root, sealed };
        assert!(block(&subtree, NEVER_STOP).differences.is_empty());
    }
}

#[test]
fn chunk_values_say_which_chunks_changed() {
    let sealed = noise(2, 5 * CHUNK_LEN + 10);
    let mut found = sealed.clone();
    found[2 * CHUNK_LEN] ^= 1;
    found[5 * CHUNK_LEN + 9] ^= 3;
    let values = chunk_values(&sealed, 0);
    let root = value(&sealed, 0, true);
    let subtree = Subtree { bytes: &found, offset: 0, root: true, sealed: root };
    assert_eq!(changed_chunks(&subtree, &values), Some(vec![2, 5]));
    assert_eq!(chunk_range(&subtree, 5), [5 * 1024, 5 * 1024 + 10]);
    // Values that do not merge to the sealed one are rejected.
    for wrong in [&values[..5], &[], &[[0; 32]; 6]] {
        assert_eq!(changed_chunks(&subtree, wrong), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Tests trees of every shape at every position.
    #[test]
    fn a_flipped_bit_is_found(
        len in prop_oneof![1usize..3000, 1usize..20_000],
        block_index in 0u64..1 << 40,
        root in any::<bool>(),
        place in any::<prop::sample::Index>(),
    ) {
        let sealed = noise(len as u64, len);
        let offset = if root { 0 } else { block_index * BLOCK_LEN as u64 };
        let mut found = sealed.clone();
        let bit = place.index(8 * len);
        found[bit / 8] ^= 1 << (bit % 8);
        let value = value(&sealed, offset, root);
        let subtree = Subtree { bytes: &found, offset, root, sealed: value };
        let explanation = block(&subtree, NEVER_STOP);
        prop_assert_eq!(bytes_of(&explanation), expected(&sealed, &found, offset));
        let [difference] = explanation.differences[..] else { panic!("{explanation:?}") };
        prop_assert!(difference.bits() == 1 && difference.offset % 8 == 0);
        prop_assert_eq!(difference.len, (offset + len as u64 - difference.offset).min(8) as usize);
    }

    /// Merging gives the values of the `blake3` crate.
    #[test]
    fn chunks_merge(len in 1025usize..40_000, block_index in 0u64..1 << 40) {
        let bytes = noise(1, len);
        prop_assert_eq!(merge(&chunk_values(&bytes, 0), true), Some(value(&bytes, 0, true)));
        let offset = block_index * BLOCK_LEN as u64;
        let merged = merge(&chunk_values(&bytes, offset), false);
        prop_assert_eq!(merged, Some(value(&bytes, offset, false)));
    }
}
